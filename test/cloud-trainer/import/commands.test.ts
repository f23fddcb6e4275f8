/** The commands as a user types them, on a small seeded checkpoint: import, embed, export, inspect, and their refusals. */
import assert from "node:assert/strict";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { clipPixels, createTokenizer, decodeForClip } from "@kenpin/clip";
import { InferenceSession, Tensor } from "onnxruntime-node";
import sharp from "sharp";
import { exportModel } from "../../../cloud-trainer/src/import/export-model.ts";
import { agreement, goldenTower, inFolder, runKenpin, writeSeededCheckpoint } from "./seeded-checkpoint.ts";

type Row = { input: string; embedding: number[] };

const { config } = goldenTower("EVA02-B-16");
const EXAMPLES = join(import.meta.dirname, "../../../examples/textile");
const GOOD = join(EXAMPLES, "good/textile_0001.jpg");
const BAD = join(EXAMPLES, "local/textile_0001.jpg");

test("a checkpoint is imported, embedded, exported and used to inspect, with commands alone", async () => {
  await inFolder(async (dir) => {
    const { checkpoint, configFile } = await writeSeededCheckpoint(dir, config);
    const model = join(dir, "model");
    const imported = await runKenpin(["import", checkpoint, "--model", configFile, "--out", model, "--licence", "MIT", "--json"]);
    assert.equal(imported.code, 0, imported.stderr);
    assert.deepEqual((await readdir(model)).sort(), [
      "card.json",
      "config.json",
      "merges.txt",
      "text.onnx",
      "tokenizer.json",
      "vision.onnx",
    ]);
    const card = JSON.parse(imported.stdout) as { provenance: unknown; checkpoint: { files: { sha256: string }[] } };
    assert.deepEqual(card.provenance, [{ name: "EVA02-B-16", licence: "MIT", source: "model.safetensors" }]);
    assert.match(card.checkpoint.files[0]?.sha256 ?? "", /^[0-9a-f]{64}$/);
    await embedsAsTheGraphDoes(model);
    await exportsTheSameModel(dir, model);
    await inspects(model);
  });
});

test("an imported model says what is wrong in one line and leaves nothing half done", async () => {
  await inFolder(async (dir) => {
    const { checkpoint, configFile } = await writeSeededCheckpoint(dir, config);
    const out = join(dir, "out");
    const cases: [string[], RegExp][] = [
      [["import", checkpoint, "--model", "EVA02-B-17", "--out", out], /no model is called "EVA02-B-17"; known: EVA01-g-14/],
      [["import", checkpoint, "--model", "EVA02-B-16", "--out", out], /tensors missing .*, 0 unexpected.*checkpoint-unfit/],
      [["import", join(dir, "none.pt"), "--model", configFile, "--out", out], /cannot be opened \(ENOENT\)/],
      [["import", configFile, "--model", configFile, "--out", out], /no whole safetensors file/],
      [["import", checkpoint, "--model", configFile, "--out", out, "--layers", "7"], /blocks 0 to 1; block 7/],
      [["import", checkpoint, "--model", configFile, "--out", dir], /already holds/],
      [["import", checkpoint, "--model", configFile, "--out", out, "--size", "65"], /no multiple of the patch/],
      [["embed", "--model", out, "--text", "x"], /no folder of `kenpin import`/],
      [["embed", "--model", out], /either --image with files or --text/],
      [["inspect", "--model", out, "--prompts", "good=a", "x.jpg"], /one of each at least/],
      [["inspect", "--model", out, "--prompts", "a", "x.jpg"], /expected good=TEXT or bad=TEXT/],
    ];
    for (const [args, expected] of cases) {
      const { code, stdout, stderr } = await runKenpin(args);
      assert.equal(code, 1, `${args.join(" ")}: ${stderr}`);
      assert.match(stderr, expected);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
      assert.equal(stdout, "");
    }
    assert.deepEqual((await readdir(dir)).sort(), ["config.json", "model.safetensors"]);
  });
});

test("a picture that is none is named, with the model untouched", async () => {
  await inFolder(async (dir) => {
    const { checkpoint, configFile } = await writeSeededCheckpoint(dir, config);
    const model = join(dir, "model");
    assert.equal((await runKenpin(["import", checkpoint, "--model", configFile, "--out", model])).code, 0);
    const broken = join(dir, "broken.jpg");
    await writeFile(broken, (await readFile(GOOD)).subarray(0, 3000));
    const { code, stderr } = await runKenpin(["embed", "--model", model, "--image", GOOD, broken, "--json"]);
    assert.equal(code, 1);
    assert.match(stderr, /broken\.jpg: the image cannot be read .*\[image-unreadable\]/);
    await rm(join(model, "text.onnx"));
    const { stderr: without } = await runKenpin(["embed", "--model", model, "--text", "a"]);
    assert.match(without, /text\.onnx is no model this runtime can open/);
  });
});

test("a model imported for a larger input gives pictures of that size an embedding", async () => {
  await inFolder(async (dir) => {
    const { checkpoint, configFile } = await writeSeededCheckpoint(dir, config);
    const model = join(dir, "model");
    const size = config.image.size + config.image.patch;
    const { code, stdout } = await runKenpin([
      "import",
      checkpoint,
      "--model",
      configFile,
      "--out",
      model,
      "--size",
      String(size),
      "--json",
    ]);
    assert.equal(code, 0);
    assert.match(stdout, /positions resampled from 4 × 4 to 5 × 5/);
    const rows = await embed(["--model", model, "--image", GOOD, "--json"]);
    assert.equal(rows[0]?.embedding.length, config.embedDim);
  });
});

test("a folder imported with its weights becomes a bundle's files, with the words' embeddings and golden scores in it", async () => {
  await inFolder(async (dir) => {
    const { checkpoint, configFile } = await writeSeededCheckpoint(dir, config);
    const [model, staged] = [join(dir, "model"), join(dir, "staged")];
    const imported = await runKenpin(["import", checkpoint, "--model", configFile, "--out", model, "--weights", "--licence", "MIT"]);
    assert.equal(imported.code, 0, imported.stderr);
    await writeFile(join(dir, "words.json"), JSON.stringify({ good: ["flawless fabric"], bad: ["torn fabric"] }));
    const { code, stdout, stderr } = await runKenpin(["stage", "--model", model, "--words", join(dir, "words.json"), "--out", staged]);
    assert.equal(code, 0, stderr);
    const manifest = JSON.parse(stdout) as {
      golden: { score: number }[];
      provenance: { licence: string }[];
      preprocess: { tilePx: number };
    };
    assert.ok(manifest.golden.length > 0);
    assert.equal(manifest.provenance[0]?.licence, "MIT");
    assert.equal(manifest.preprocess.tilePx, config.image.size);
    const files = await readdir(staged);
    for (const name of ["vision.onnx", "nearest.onnx", "prompts.json"]) assert.ok(files.includes(name), name);
  });
});

test("a model whose weights lie beside it inspects as one in a single file", async () => {
  await inFolder(async (dir) => {
    const { checkpoint, configFile } = await writeSeededCheckpoint(dir, config);
    const [model, beside] = [join(dir, "model"), join(dir, "beside")];
    assert.equal((await runKenpin(["import", checkpoint, "--model", configFile, "--out", model])).code, 0);
    await exportModel({ from: model, out: beside, graph: { flavour: "portable", patchEmbeds: true, layers: [] }, limitBytes: 100_000 });
    const scores = [];
    for (const folder of [model, beside]) {
      const { stdout, stderr } = await runKenpin([
        "inspect",
        "--model",
        folder,
        "--prompts",
        "good=flawless",
        "--prompts",
        "bad=torn",
        "--json",
        BAD,
      ]);
      scores.push((JSON.parse(stdout || stderr) as { score: number }[])[0]?.score);
    }
    assert.equal(scores[0], scores[1]);
  });
});

async function embedsAsTheGraphDoes(model: string): Promise<void> {
  const side = config.image.size;
  const images = await embed(["--model", model, "--image", GOOD, BAD, "--json"]);
  assert.deepEqual(
    images.map(({ input }) => input),
    [GOOD, BAD],
  );
  const vision = await InferenceSession.create(join(model, "vision.onnx"));
  for (const { input, embedding } of images) {
    const pixels = clipPixels(await decodeForClip(await readFile(input)), config);
    const out = await vision.run({ pixel_values: new Tensor("float32", pixels, [1, 3, side, side]) });
    assertAgree(embedding, out["image_embeds"]?.data as Float32Array);
    assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-5);
  }
  const texts = ["a photo of a scratched part", "検品", ...Array.from({ length: 40 }, (_, i) => `part number ${i}`)];
  const rows = await embed(["--model", model, "--text", ...texts, "--json"]);
  const { encode } = createTokenizer(config.text);
  const text = await InferenceSession.create(join(model, "text.onnx"));
  for (const [i, { input, embedding }] of rows.entries()) {
    assert.equal(input, texts[i]);
    const ids = BigInt64Array.from([...encode(input)].map(BigInt));
    const out = await text.run({ input_ids: new Tensor("int64", ids, [1, config.text.context]) });
    assertAgree(embedding, out["text_embeds"]?.data as Float32Array);
  }
}

async function exportsTheSameModel(dir: string, model: string): Promise<void> {
  const [ort, again] = [join(dir, "ort"), join(dir, "again")];
  assert.equal((await runKenpin(["export", "--model", model, "--graph", "ort", "--out", ort, "--layers", "0,1"])).code, 0);
  assert.equal((await runKenpin(["export", "--model", ort, "--graph", "portable", "--out", again])).code, 0);
  for (const file of await readdir(model)) assert.ok((await readFile(join(model, file))).equals(await readFile(join(again, file))), file);
  const [portable, fused] = [
    await embed(["--model", model, "--image", GOOD, BAD, "--json"]),
    await embed(["--model", ort, "--image", GOOD, BAD, "--json"]),
  ];
  for (const [i, { embedding }] of fused.entries()) assertAgree(embedding, portable[i]?.embedding ?? []);
}

async function inspects(model: string): Promise<void> {
  const prompts = ["--prompts", "good=flawless woven fabric", "--prompts", "bad=a hole in fabric", "--prompts", "bad=torn fabric"];
  const { code, stdout, stderr } = await runKenpin(["inspect", "--model", model, ...prompts, "--json", GOOD, BAD]);
  assert.equal(code, 0, stderr);
  const rows = JSON.parse(stdout) as { file: string; score: number; width: number; regions: unknown[]; prompt: string }[];
  const { width } = await sharp(GOOD).metadata();
  assert.deepEqual(
    rows.map(({ file }) => file),
    [GOOD, BAD],
  );
  for (const row of rows) {
    assert.ok(row.score > 0 && row.score < 1);
    assert.equal(row.width, width);
    assert.match(row.prompt, /fabric/);
  }
  assert.notEqual(rows[0]?.score, rows[1]?.score);
}

async function embed(args: string[]): Promise<Row[]> {
  const { code, stdout, stderr } = await runKenpin(["embed", ...args]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Row[];
}

function assertAgree(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  const { cosine, largest } = agreement(actual, expected, config.embedDim);
  assert.ok(cosine >= 0.999999 && largest <= 1e-4, `cosine ${cosine}, largest difference ${largest}`);
}
