/** The written graphs against the training engine's own forward pass, on the same seeded weights, through the runtime. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createTokenizer, modelConfig } from "@kenpin/clip";
import { nearestGraph, textGraph, visionGraph } from "@kenpin/onnx";
import { createRandom } from "@kenpin/stats";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { loadBackend } from "../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { createImageTower } from "../../cloud-trainer/src/train/engines/tfjs/image-tower.ts";
import { createTextTower } from "../../cloud-trainer/src/train/engines/tfjs/text-tower.ts";
import { drawTensors, toWeights } from "../../cloud-trainer/src/train/engines/tfjs/weights.ts";

const config = modelConfig("kenpin-s-8");
// Weights strong enough that different pictures get clearly different embeddings.
const tensors = new Map(
  [...drawTensors(config, 3)].map(([name, { shape, data }]) => [name, { shape, data: data.map((value) => value * 2.5) }]),
);

/** float32 sums in another order differ by this much; a wrong angle or a swapped head by far more. */
const TOLERANCE = 2e-4;

test("the exported image tower answers as the trained one does, for the image and for every patch", async () => {
  const random = createRandom(5);
  const side = config.image.size;
  const pixels = Float32Array.from({ length: 2 * 3 * side * side }, random.normal);
  const { tf } = await loadBackend();
  const expected = createImageTower(tf, config).embed(toWeights(tf, tensors), tf.tensor4d(pixels, [2, 3, side, side]));
  const session = await InferenceSession.create(Buffer.from(visionGraph({ config, weights: tensors, layers: [1, 2] })));
  const actual = await session.run({ pixel_values: new Tensor("float32", pixels, [2, 3, side, side]) });
  assertClose(actual["image_embeds"]?.data as Float32Array, expected.imageEmbeds.dataSync() as Float32Array);
  assertClose(actual["patch_embeds"]?.data as Float32Array, expected.patchEmbeds.dataSync() as Float32Array);
  assert.deepEqual(actual["patch_tokens"]?.dims, [2, 100, 2 * config.image.width]);
});

test("the exported text tower answers as the trained one does", async () => {
  const { encode } = createTokenizer(config.text);
  const ids = ["a photo of flawless woven fabric", "a deep scratch", "検品"].map(encode);
  const { tf } = await loadBackend();
  const expected = createTextTower(tf, config)(toWeights(tf, tensors), ids).dataSync() as Float32Array;
  const session = await InferenceSession.create(Buffer.from(textGraph({ config, weights: tensors })));
  const input = BigInt64Array.from(ids.flatMap((row) => [...row]).map(BigInt));
  const actual = await session.run({ input_ids: new Tensor("int64", input, [ids.length, config.text.context]) });
  assertClose(actual["text_embeds"]?.data as Float32Array, expected);
});

test("the nearest token of a bank is the one with the largest cosine", async () => {
  const session = await InferenceSession.create(Buffer.from(nearestGraph(2)));
  const feeds = { tokens: new Tensor("float32", [1, 0, 0, 1], [2, 2]), bank: new Tensor("float32", [0.6, 0.8, 1, 0, -1, 0], [3, 2]) };
  assertClose((await session.run(feeds))["distance"]?.data as Float32Array, Float32Array.from([0, 0.2]));
});

function assertClose(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length);
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - (expected[i] as number))), 0);
  assert.ok(worst < TOLERANCE, `largest difference ${worst}`);
}
