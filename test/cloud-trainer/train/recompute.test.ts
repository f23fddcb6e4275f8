/** Activations made again in the backward pass: the same gradients, bit for bit, in less memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { modelConfig } from "@kenpin/clip";
import { loadBackend, type Variable } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { createImageTower } from "../../../cloud-trainer/src/train/engines/tfjs/image-tower.ts";
import type { Weights } from "../../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { toWeights } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { seededTensors } from "../../onnx/seeded-weights.ts";
import { CASES, runTowers } from "./tower-run.ts";

const { tf } = await loadBackend();
const small = modelConfig("kenpin-s-8");
const config = { ...small, image: { ...small.image, depth: 8 } };

for (const one of CASES) {
  test(`with ${one.name}, gradients are bit for bit those of a pass that keeps all`, () => {
    const [kept, again] = [runTowers(tf, config, one), runTowers(tf, config, one, true)];
    assert.deepEqual(again.embeds, kept.embeds);
    assert.deepEqual([...again.gradients.keys()], [...kept.gradients.keys()]);
    for (const [name, gradient] of kept.gradients) assert.deepEqual(again.gradients.get(name), gradient, name);
  });
}

test("with eight blocks, the peak of memory is less than half, weights and gradients included", async (t) => {
  const kept = await peakBytes(false);
  const again = await peakBytes(true);
  t.diagnostic(`peak ${(kept / 2 ** 20).toFixed(1)} MiB keeping all, ${(again / 2 ** 20).toFixed(1)} MiB making again`);
  assert.ok(again < kept / 2);
});

test("nothing is left behind by a pass, with or without", () => {
  runTowers(tf, config, {});
  const before = tf.memory().numTensors;
  runTowers(tf, config, {});
  runTowers(tf, config, { kept: true }, true);
  // the two towers' tables, made once and kept
  assert.ok(tf.memory().numTensors - before <= 2);
});

/** The most bytes at once in a pass of the image tower over 24 pictures, weights and their gradients included. */
async function peakBytes(recompute: boolean): Promise<number> {
  const weights = toWeights(tf, seededTensors(config));
  const tower = createImageTower(tf, config, { recompute });
  const side = config.image.size;
  const { peakBytes: peak } = await tf.profile(() => {
    const { grads } = tf.variableGrads(() => tf.sum(tower.tokens(weights, tf.zeros([24, 3, side, side]))), ofImageTower(weights));
    tf.dispose(grads);
    return tf.scalar(0);
  });
  tf.dispose([...weights.values()]);
  return peak;
}

function ofImageTower(weights: Weights): Variable[] {
  return [...weights].filter(([name]) => name.startsWith("visual.trunk.") && !name.includes("head")).map(([, variable]) => variable);
}
