/**
 * Live comparisons with Python: the onnx package's full checker, onnxruntime's own outputs, BAAI's names as PyTorch saves
 * them, and 200 large pictures by Pillow. Set KENPIN_PYTHON to an interpreter that has the packages named in
 * test/fixtures/clip/*.py; without it these tests are skipped, and nothing else needs Python. KENPIN_FULL_MODELS, a list of
 * folders that `make_towers.py --full` filled, adds a comparison from a picture's first byte to its embedding at full size.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { cutSquare, decodeForClip, type ModelConfig } from "@kenpin/clip";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { exportModel } from "../../../cloud-trainer/src/import/export-model.ts";
import { importCheckpoint } from "../../../cloud-trainer/src/import/import-checkpoint.ts";
import { differenceOf, readGoldenImages } from "../../clip/golden-images.ts";
import { goldenIds, goldenPixels } from "../../onnx/seeded-weights.ts";
import { agreement, goldenTowers, inFolder, runKenpin, writeSeededCheckpoint } from "./seeded-checkpoint.ts";

type Request = { file: string; portable: boolean; inputs: Record<string, { file: string; type: string; dims: number[] }>; out: string };
type Verdict = { opset: Record<string, number>; domains: string[]; banned: string[]; free: string[]; unknown: string[]; outputs: string[] };

const FIXTURES = join(import.meta.dirname, "../../fixtures/clip");
const PYTHON = process.env["KENPIN_PYTHON"];
const EXAMPLES = join(import.meta.dirname, "../../../examples/textile");
const FULL = (process.env["KENPIN_FULL_MODELS"] ?? "").split(delimiter).filter((folder) => folder !== "");
const skip = PYTHON ? false : "KENPIN_PYTHON names no interpreter";

test("the onnx package's full checker passes every model, and onnxruntime in Python gives the same outputs", { skip }, async () => {
  await inFolder(async (dir) => {
    const requests: Request[] = [];
    for (const { config } of goldenTowers) requests.push(...(await foldersOf(dir, config)));
    await writeFile(join(dir, "request.json"), JSON.stringify(requests));
    const verdicts = python(["check_onnx.py", join(dir, "request.json")])
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Verdict);
    assert.equal(verdicts.length, requests.length);
    for (const [i, verdict] of verdicts.entries()) {
      const request = requests[i] as Request;
      assert.deepEqual(verdict.banned, [], request.file);
      assert.deepEqual(verdict.free, ["n"], request.file);
      assert.deepEqual(verdict.unknown, [], request.file);
      if (request.portable) assert.deepEqual([verdict.domains, verdict.opset], [[""], { "": 17 }], request.file);
      await assertSameOutputs(request, verdict.outputs);
    }
  });
});

test("a checkpoint that PyTorch saved under BAAI's names gives the same bytes as open_clip's safetensors", { skip }, async () => {
  await inFolder(async (dir) => {
    python(["make_towers.py", "--checkpoints", dir]);
    for (const { config } of goldenTowers) {
      const [ours, theirs] = [join(dir, `${config.name}-ours`), join(dir, `${config.name}-theirs`)];
      const graph = { flavour: "portable" as const, patchEmbeds: true, layers: [] };
      await importCheckpoint({ checkpoint: join(dir, `${config.name}.safetensors`), config, out: ours, graph });
      const card = await importCheckpoint({ checkpoint: join(dir, `${config.name}.pt`), config, out: theirs, graph });
      assert.deepEqual([card.checkpoint.naming, card.checkpoint.format], ["baai", "pytorch"]);
      for (const name of ["vision.onnx", "text.onnx"])
        assert.ok((await readFile(join(ours, name))).equals(await readFile(join(theirs, name))), `${config.name} ${name}`);
    }
  });
});

test("200 pictures of up to 2,000 pixels become the pixels that Pillow and torchvision make of them", { skip }, async () => {
  await inFolder(async (dir) => {
    python(["make_images.py", join(dir, "images.gz"), "--big"]);
    const golden = readGoldenImages(join(dir, "images.gz"));
    assert.equal(golden.length, 200);
    for (const { name, target, file, pixels } of golden) {
      const { largest, mean } = differenceOf(cutSquare(await decodeForClip(file), target).data, pixels);
      assert.ok(largest <= 1 && mean < 0.1, `${name}: largest ${largest}, mean ${mean}`);
    }
  });
});

for (const full of FULL) {
  test(`kenpin embed gives pictures and texts the embeddings that open_clip does, with the checkpoint in ${full}`, { skip }, async () => {
    await inFolder(async (dir) => {
      const images = ["good/textile_0001.jpg", "local/textile_0004.jpg", "global/textile_0009.jpg"].map((name) => join(EXAMPLES, name));
      const texts = ["a photo of a scratched part", "検品：キズのある部品", "don’t &amp; naÃ¯ve 🔩", "word ".repeat(200)];
      await writeFile(join(dir, "request.json"), JSON.stringify({ images, texts }));
      const theirs = JSON.parse(python(["embed.py", full, join(dir, "request.json")])) as Record<"images" | "texts", number[][]>;
      const model = join(dir, "model");
      const imported = await runKenpin(["import", full, "--model", join(full, "config.json"), "--out", model]);
      assert.equal(imported.code, 0, imported.stderr);
      for (const [flag, inputs, expected] of [
        ["--image", images, theirs.images],
        ["--text", texts, theirs.texts],
      ] as const) {
        const { stdout, stderr } = await runKenpin(["embed", "--model", model, flag, ...inputs, "--json"]);
        const rows = JSON.parse(stdout || "[]") as { embedding: number[] }[];
        assert.equal(rows.length, inputs.length, stderr);
        for (const [i, { embedding }] of rows.entries()) {
          const { cosine, largest } = agreement(embedding, expected[i] as number[], embedding.length);
          assert.ok(cosine >= 0.999999 && largest <= 1e-4, `${inputs[i]}: cosine ${cosine}, largest difference ${largest}`);
        }
      }
    });
  });
}

/** Portable with its weights inside, portable with them beside it, and ORT; both towers each. */
async function foldersOf(dir: string, config: ModelConfig): Promise<Request[]> {
  const home = join(dir, config.name);
  await mkdir(home, { recursive: true });
  const { checkpoint } = await writeSeededCheckpoint(home, config);
  const portable = { flavour: "portable" as const, patchEmbeds: true, layers: [0, 1] };
  await importCheckpoint({ checkpoint, config, out: join(home, "inside"), graph: portable });
  await exportModel({ from: join(home, "inside"), out: join(home, "beside"), graph: { ...portable, layers: [] }, limitBytes: 100_000 });
  await exportModel({ from: join(home, "inside"), out: join(home, "plain"), graph: { ...portable, patchEmbeds: false, layers: [] } });
  await exportModel({ from: join(home, "inside"), out: join(home, "ort"), graph: { ...portable, flavour: "ort" } });
  await writeFile(join(home, "pixels"), bytesOf(goldenPixels(config, 2)));
  await writeFile(join(home, "ids"), bytesOf(goldenIds(config)));
  const side = config.image.size;
  const pixels = { pixel_values: { file: join(home, "pixels"), type: "float32", dims: [2, 3, side, side] } };
  const ids = { input_ids: { file: join(home, "ids"), type: "int64", dims: [3, config.text.context] } };
  return ["inside", "beside", "plain", "ort"].flatMap((name) => [
    { file: join(home, name, "vision.onnx"), portable: name !== "ort", inputs: pixels, out: join(home, name, "vision-out") },
    { file: join(home, name, "text.onnx"), portable: name !== "ort", inputs: ids, out: join(home, name, "text-out") },
  ]);
}

async function assertSameOutputs(request: Request, outputs: string[]): Promise<void> {
  const session = await InferenceSession.create(request.file);
  const feeds: Record<string, Tensor> = {};
  for (const [name, { file, type, dims }] of Object.entries(request.inputs)) {
    const { buffer } = new Uint8Array(await readFile(file));
    feeds[name] =
      type === "int64" ? new Tensor("int64", new BigInt64Array(buffer), dims) : new Tensor("float32", new Float32Array(buffer), dims);
  }
  const ours = await session.run(feeds);
  assert.deepEqual(Object.keys(ours).sort(), [...outputs].sort(), request.file);
  for (const name of outputs) {
    const theirs = new Float32Array(new Uint8Array(await readFile(join(request.out, name))).buffer);
    const { data, dims } = ours[name] as Tensor;
    const { cosine, largest } = agreement(data as Float32Array, theirs, dims.at(-1) as number);
    assert.ok(cosine >= 0.999999 && largest <= 1e-5, `${request.file} ${name}: cosine ${cosine}, largest difference ${largest}`);
  }
  await session.release();
}

function python([script, ...args]: [string, ...string[]]): string {
  const ran = spawnSync(PYTHON as string, ["-W", "ignore", join(FIXTURES, script), ...args], {
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  assert.equal(ran.status, 0, ran.stderr);
  return ran.stdout;
}

function bytesOf(data: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
