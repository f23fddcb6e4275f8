/**
 * Whole model folders against open_clip's own embeddings (test/fixtures/clip/towers.json): every published model's kind,
 * both graphs, weights inside the model file and beside it. At full size with KENPIN_FULL_MODELS, a list of folders that
 * `make_towers.py --full` filled.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { encodeSafetensors, type ModelConfig, parseModelConfig, shardTensors } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { exportModel } from "../../../cloud-trainer/src/import/export-model.ts";
import { importCheckpoint } from "../../../cloud-trainer/src/import/import-checkpoint.ts";
import { readModelFolder } from "../../../cloud-trainer/src/import/model-folder.ts";
import { goldenIds, goldenPixels, seededTensors } from "../../onnx/seeded-weights.ts";
import { agreement, type GoldenTower, goldenTower, goldenTowers, inFolder, writeSeededCheckpoint } from "./seeded-checkpoint.ts";

const PORTABLE = { flavour: "portable", patchEmbeds: true, layers: [] } as const;
const FULL = (process.env["KENPIN_FULL_MODELS"] ?? "").split(delimiter).filter((folder) => folder !== "");
/** Small models stay in one file of 2 GB; with this their weights lie beside them as those of E/14 do. */
const BESIDE_BYTES = 100_000;

for (const tower of goldenTowers) {
  test(`a folder of ${tower.config.name}'s kind, weights beside it, embeds as open_clip does with both graphs`, async () => {
    await inFolder(async (dir) => {
      const { checkpoint } = await writeSeededCheckpoint(dir, tower.config);
      const [model, fused] = [join(dir, "model"), join(dir, "fused")];
      await importCheckpoint({
        checkpoint,
        config: tower.config,
        out: model,
        graph: { ...PORTABLE, layers: [] },
        limitBytes: BESIDE_BYTES,
      });
      assert.ok(existsSync(join(model, "vision.data")) && existsSync(join(model, "text.data")));
      await assertGolden(model, tower);
      await exportModel({ from: model, out: fused, graph: { flavour: "ort", patchEmbeds: true, layers: [1] } });
      assert.ok(!existsSync(join(fused, "vision.data")));
      await assertGolden(fused, tower);
    });
  });
}

for (const folder of FULL) {
  test(`the full-size checkpoint in ${folder} embeds as open_clip does, from safetensors and from BAAI's halves`, async () => {
    const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Omit<GoldenTower, "config"> & { parameters: number };
    const config = parseModelConfig(JSON.parse(readFileSync(join(folder, "config.json"), "utf8")), folder);
    await inFolder(async (dir) => {
      const [model, fused, halves] = [join(dir, "model"), join(dir, "fused"), join(dir, "halves")];
      const checkpoint = join(folder, "open_clip_model.safetensors");
      const card = await importCheckpoint({ checkpoint, config, out: model, graph: { ...PORTABLE, layers: [] } });
      assert.equal(card.parameters, golden.parameters);
      await assertGolden(model, { ...golden, config });
      await exportModel({ from: model, out: fused, graph: { flavour: "ort", patchEmbeds: true, layers: [] } });
      await assertGolden(fused, { ...golden, config });
      if (!existsSync(join(folder, "baai.pt"))) return;
      await importCheckpoint({ checkpoint: join(folder, "baai.pt"), config, out: halves, graph: { ...PORTABLE, layers: [] } });
      await assertGolden(halves, { ...golden, config }, { cosine: 0.999, largest: 0.01 });
    });
  });
}

test("a checkpoint in several files gives the same folder as one in one file, but for the card", async () => {
  await inFolder(async (dir) => {
    const { config } = goldenTower("EVA02-B-16");
    const { checkpoint } = await writeSeededCheckpoint(dir, config);
    const tensors = seededTensors(config);
    const { index, files } = shardTensors(new Map([...tensors].map(([name, { shape }]) => [name, shape])), 500_000);
    for (const [file, part] of files) {
      const kept = new Map([...tensors].filter(([name]) => part.has(name)));
      await writeFile(join(dir, file), encodeSafetensors(kept));
    }
    await writeFile(join(dir, "x.safetensors.index.json"), JSON.stringify(index));
    const [one, many] = [join(dir, "one"), join(dir, "many")];
    await importCheckpoint({ checkpoint, config, out: one, graph: { ...PORTABLE, layers: [] } });
    const card = await importCheckpoint({
      checkpoint: join(dir, "x.safetensors.index.json"),
      config,
      out: many,
      graph: { ...PORTABLE, layers: [] },
    });
    assert.equal(card.checkpoint.files.length, files.size);
    for (const name of ["vision.onnx", "text.onnx", "config.json", "tokenizer.json", "merges.txt"])
      assert.ok((await readFile(join(one, name))).equals(await readFile(join(many, name))), name);
  });
});

test("a folder whose model file was cut short cannot be exported, and nothing half done is left", async () => {
  await inFolder(async (dir) => {
    const { config } = goldenTower("EVA02-B-16");
    const { checkpoint } = await writeSeededCheckpoint(dir, config);
    const [model, out] = [join(dir, "model"), join(dir, "out")];
    await importCheckpoint({ checkpoint, config, out: model, graph: { ...PORTABLE, layers: [] } });
    const whole = await readFile(join(model, "vision.onnx"));
    for (const bytes of [whole.subarray(0, whole.length / 2), whole.subarray(0, 100), Buffer.from("no model at all"), Buffer.alloc(0)]) {
      await writeFile(join(model, "vision.onnx"), bytes);
      const graph = { flavour: "ort" as const, patchEmbeds: true, layers: [] };
      await assert.rejects(
        exportModel({ from: model, out, graph }),
        (error) => error instanceof KenpinError && error.code === "model-unreadable",
      );
    }
    assert.deepEqual((await readdir(dir)).sort(), ["config.json", "model", "model.safetensors"]);
  });
});

test("a folder whose card or configuration was edited by mistake is refused by the misspelt key", async () => {
  await inFolder(async (dir) => {
    const { config } = goldenTower("EVA02-B-16");
    const { checkpoint } = await writeSeededCheckpoint(dir, config);
    const model = join(dir, "model");
    await importCheckpoint({ checkpoint, config, out: model, graph: { ...PORTABLE, layers: [] } });
    const card = JSON.parse(await readFile(join(model, "card.json"), "utf8")) as Record<string, unknown>;
    await writeFile(join(model, "card.json"), JSON.stringify({ ...card, parameter: 1 }));
    await assert.rejects(
      readModelFolder(model),
      (error) => error instanceof KenpinError && /did you mean "parameters"/.test(error.message),
    );
  });
});

async function assertGolden(
  folder: string,
  { config, ...golden }: GoldenTower,
  { cosine, largest }: { cosine: number; largest: number } = { cosine: 0.999999, largest: 1e-4 },
): Promise<void> {
  const side = config.image.size;
  const vision = await InferenceSession.create(join(folder, "vision.onnx"));
  const images = await vision.run({ pixel_values: new Tensor("float32", goldenPixels(config, 2), [2, 3, side, side]) });
  const text = await InferenceSession.create(join(folder, "text.onnx"));
  const texts = await text.run({ input_ids: new Tensor("int64", goldenIds(config), [3, config.text.context]) });
  const pairs: [string, ArrayLike<number>, number[]][] = [
    ["image_embeds", images["image_embeds"]?.data as Float32Array, golden.image_embeds],
    ["patch_embeds, first", patchRows(images["patch_embeds"]?.data as Float32Array, config, [0, 1]), golden.patch_embeds_first],
    ["patch_embeds, last", patchRows(images["patch_embeds"]?.data as Float32Array, config, [-1]), golden.patch_embeds_last],
    ["text_embeds", texts["text_embeds"]?.data as Float32Array, golden.text_embeds],
  ];
  for (const [what, actual, expected] of pairs) {
    const found = agreement(actual, expected, config.embedDim);
    assert.ok(found.cosine >= cosine && found.largest <= largest, `${what}: cosine ${found.cosine}, largest difference ${found.largest}`);
    if (process.env["KENPIN_SHOW"]) process.stderr.write(`${folder} ${what}: 1 - cosine ${1 - found.cosine}, largest ${found.largest}\n`);
  }
  await vision.release();
  await text.release();
}

/** The given patches of both pictures; −1 is the last. */
function patchRows(patches: Float32Array, { image, embedDim }: ModelConfig, picks: number[]): number[] {
  const count = (image.size / image.patch) ** 2;
  const rows = [0, 1].flatMap((n) => picks.map((pick) => n * count + (pick < 0 ? count + pick : pick)));
  return rows.flatMap((row) => [...patches.subarray(row * embedDim, (row + 1) * embedDim)]);
}
