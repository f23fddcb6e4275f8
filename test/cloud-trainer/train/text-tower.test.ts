/**
 * What the text tower looks at. Its gradients against PyTorch's are in image-tower.test.ts, with those of the image tower.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createTokenizer, modelConfig } from "@kenpin/clip";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { createTextTower } from "../../../cloud-trainer/src/train/engines/tfjs/text-tower.ts";
import { toWeights } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { seededTensors } from "../../onnx/seeded-weights.ts";

const config = modelConfig("kenpin-s-8");
const { tf } = await loadBackend();
const weights = toWeights(tf, seededTensors(config));
const { encode } = createTokenizer(config.text);
const embed = (rows: Int32Array[]) => createTextTower(tf, config)(weights, rows).arraySync();

test("what stands after a text's end changes nothing", () => {
  const ids = encode("a deep scratch");
  const end = ids.indexOf(Math.max(...ids));
  const padded = ids.map((id, i) => (i > end ? 7 : id));
  assert.notDeepEqual(padded, ids);
  assert.deepEqual(embed([padded]), embed([ids]));
});

test("a text's embedding is the same beside other texts, and different texts have different ones", () => {
  const [scratch, fabric] = ["a deep scratch", "a photo of flawless woven fabric"].map(encode) as [Int32Array, Int32Array];
  const [[alone], together] = [embed([scratch]), embed([fabric, scratch])] as [number[][], number[][]];
  const off = (a: number[], b: number[]) => Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));
  assert.ok(off(alone as number[], together[1] as number[]) < 1e-5);
  assert.ok(off(together[0] as number[], together[1] as number[]) > 0.05);
});

test("a word changes the embedding although only the end token is read", () => {
  const [one, other] = embed(["a deep scratch", "a deep dent"].map(encode)) as [number[], number[]];
  assert.ok(one.reduce((sum, value, i) => sum + value * (other[i] as number), 0) < 0.999);
});
