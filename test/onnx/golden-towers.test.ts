/**
 * The written graphs against open_clip's own towers (float32, PyTorch) on the same seeded weights: every published
 * model's block style and head dim at reduced depth and width, in both flavours. The script that made the answers is
 * test/fixtures/clip/make_towers.py.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type ModelConfig, modelConfig, parseModelConfig, tensorShapes } from "@kenpin/clip";
import { type Flavour, type Model, textGraph, textModel, visionGraph, visionModel } from "@kenpin/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { goldenIds, goldenPixels, seededTensors } from "./seeded-weights.ts";

type Golden = { config: ModelConfig } & Record<"image_embeds" | "patch_embeds_first" | "patch_embeds_last" | "text_embeds", number[]>;

const FIXTURE = join(import.meta.dirname, "../fixtures/clip/towers.json");
const golden = JSON.parse(readFileSync(FIXTURE, "utf8")) as Golden[];
const PARAMETERS = {
  "EVA01-g-14": 1_136_435_841,
  "EVA01-g-14-plus": 1_366_621_569,
  "EVA02-B-16": 149_691_137,
  "EVA02-L-14": 427_755_457,
  "EVA02-L-14-336": 428_083_137,
  "EVA02-E-14": 4_704_589_569,
  "EVA02-E-14-plus": 5_044_889_089,
};

for (const flavour of ["portable", "ort"] satisfies Flavour[]) {
  for (const entry of golden) {
    test(`the ${flavour} graphs of ${entry.config.name}'s kind answer as open_clip does, for image, patches and text`, async () => {
      const config = parseModelConfig(entry.config, entry.config.name);
      const weights = seededTensors(config);
      const side = config.image.size;
      const vision = await InferenceSession.create(visionGraph({ config, weights, flavour }));
      const images = await vision.run({ pixel_values: new Tensor("float32", goldenPixels(config, 2), [2, 3, side, side]) });
      assertSame(images["image_embeds"]?.data as Float32Array, entry.image_embeds, config.embedDim);
      const patches = images["patch_embeds"]?.data as Float32Array;
      assertSame(
        rows(patches, config, (count) => [0, 1, count, count + 1]),
        entry.patch_embeds_first,
        config.embedDim,
      );
      assertSame(
        rows(patches, config, (count) => [count - 1, 2 * count - 1]),
        entry.patch_embeds_last,
        config.embedDim,
      );
      const text = await InferenceSession.create(textGraph({ config, weights, flavour }));
      const texts = await text.run({ input_ids: new Tensor("int64", goldenIds(config), [3, config.text.context]) });
      assertSame(texts["text_embeds"]?.data as Float32Array, entry.text_embeds, config.embedDim);
    });
  }
}

test("every published model has exactly its published number of parameters", () => {
  for (const [name, expected] of Object.entries(PARAMETERS)) {
    let count = 0;
    for (const shape of tensorShapes(modelConfig(name)).values()) count += shape.reduce((product, n) => product * n, 1);
    assert.equal(count, expected, name);
  }
});

test("a model over the file limit keeps its weights in a file beside it, and answers the same", async () => {
  const config = parseModelConfig(golden[0]?.config, "config");
  const weights = seededTensors(config);
  const folder = await mkdtemp(join(tmpdir(), "kenpin-onnx-"));
  try {
    const limit = 100_000;
    for await (const { file, bytes } of visionModel({ config }).stream(
      async (name) => weights.get(name)?.data as Float32Array,
      "vision.data",
      limit,
    )) {
      await writeFile(join(folder, file === "model" ? "vision.onnx" : "vision.data"), bytes, { flag: "a" });
    }
    const side = config.image.size;
    const session = await InferenceSession.create(join(folder, "vision.onnx"));
    const out = await session.run({ pixel_values: new Tensor("float32", goldenPixels(config, 2), [2, 3, side, side]) });
    assertSame(out["image_embeds"]?.data as Float32Array, (golden[0] as Golden).image_embeds, config.embedDim);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("a model written tensor by tensor has the same bytes as one written at once", async () => {
  const config = parseModelConfig(golden[2]?.config, "config");
  const weights = seededTensors(config);
  const models: Model[] = [visionModel({ config, layers: [0] }), textModel({ config })];
  for (const model of models) {
    const pieces: Uint8Array[] = [];
    for await (const { bytes } of model.stream(async (name) => weights.get(name)?.data as Float32Array, "unused"))
      pieces.push(bytes.slice());
    assert.ok(Buffer.concat(pieces).equals(model.encode(weights)));
  }
});

function rows(patches: Float32Array, { image, embedDim }: ModelConfig, pick: (count: number) => number[]): Float32Array {
  const chosen = pick((image.size / image.patch) ** 2);
  return Float32Array.from(chosen.flatMap((row) => [...patches.subarray(row * embedDim, (row + 1) * embedDim)]));
}

/** Cosine ≥ 0.999999 and largest difference ≤ 1e-4, row by row. */
function assertSame(actual: Float32Array, expected: number[], dim: number): void {
  assert.equal(actual.length, expected.length);
  for (let row = 0; row < actual.length; row += dim) {
    let [dot, worst] = [0, 0];
    for (let i = row; i < row + dim; i++) {
      dot += (actual[i] as number) * (expected[i] as number);
      worst = Math.max(worst, Math.abs((actual[i] as number) - (expected[i] as number)));
    }
    assert.ok(dot >= 0.999999, `cosine ${dot}`);
    assert.ok(worst <= 1e-4, `largest difference ${worst}`);
  }
}
