/** The moving average of the weights: its value, its warm-up, what a checkpoint keeps of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { type Weights, weight } from "../../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { createWeightAverage } from "../../../cloud-trainer/src/train/engines/tfjs/weight-average.ts";

const { tf } = await loadBackend();

test("the average follows the weights by the decay, and early on by its warm-up", () => {
  const start = 2;
  for (const warmup of [true, false]) {
    const weights = weightsOf(start);
    const average = createWeightAverage(tf, weights, { decay: 0.5, warmup });
    let expected = start;
    for (let t = 0; t < 20; t++) {
      move(weights, t);
      average.update(weights);
      const kept = warmup ? Math.min(0.5, (1 + t) / (10 + t)) : 0.5;
      expected = kept * expected + (1 - kept) * t;
      for (const name of ["a.weight", "a.bias"])
        assert.ok(
          average
            .tensors()
            .get(name)
            ?.data.every((value) => Math.abs(value - expected) < 1e-5 * (1 + expected)),
          `step ${t}`,
        );
    }
    assert.deepEqual([...(average.tensors().get("frozen")?.data ?? [])], [start], "what is not trained is as it is");
    assert.deepEqual(average.tensors().get("a.weight")?.shape, [3, 50]);
    assert.deepEqual([...average.state().keys()], ["averageSteps", "average.a.weight", "average.a.bias"]);
  }
});

test("a saved average goes on to the very same numbers", () => {
  const weights = weightsOf(1);
  const [whole, resumed] = [createWeightAverage(tf, weights, { decay: 0.9 }), createWeightAverage(tf, weights, { decay: 0.9 })];
  for (let t = 0; t < 3; t++) {
    move(weights, t * 0.7);
    whole.update(weights);
  }
  resumed.load(whole.state());
  move(weights, 5.3);
  for (const average of [whole, resumed]) average.update(weights);
  assert.deepEqual([...resumed.state()], [...whole.state()]);
});

test("an average of another model is refused by name, and nothing changes", () => {
  const average = createWeightAverage(tf, weightsOf(1), { decay: 0.9 });
  const [state, before] = [average.state(), average.state()];
  state.set("average.a.weight", { shape: [2], data: new Float32Array(2) });
  assert.throws(() => average.load(state), {
    code: "average-state-mismatch",
    message: /"average\.a\.weight" of shape \[3,50\], found one of \[2\]/,
  });
  state.delete("average.a.weight");
  assert.throws(() => average.load(state), { code: "average-state-mismatch", message: /found none/ });
  assert.deepEqual([...average.state()], [...before]);
});

test("an update leaves no tensor behind, and disposing leaves only the weights", () => {
  const weights = weightsOf(1);
  const started = tf.memory().numTensors;
  const average = createWeightAverage(tf, weights, { decay: 0.9 });
  const settled = tf.memory().numTensors;
  average.update(weights);
  average.load(average.state());
  average.tensors();
  assert.equal(tf.memory().numTensors, settled);
  average.dispose();
  assert.equal(tf.memory().numTensors, started);
});

function weightsOf(value: number): Weights {
  return new Map([
    ["a.weight", tf.variable(tf.fill([3, 50], value))],
    ["a.bias", tf.variable(tf.fill([3], value))],
    ["frozen", tf.variable(tf.fill([1], value), false)],
  ]);
}

function move(weights: Weights, value: number): void {
  for (const name of ["a.weight", "a.bias"]) {
    const variable = weight(weights, name);
    tf.tidy(() => variable.assign(tf.fill(variable.shape, value)));
  }
}
