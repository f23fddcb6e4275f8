/**
 * LAMB against timm's and AdamW against PyTorch's over a hundred steps (test/fixtures/train/make_optimizers.py), on the back end
 * that trains and on one that has none of TensorFlow's kernels; what their states keep; and the norms that clipping needs.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadBackend, type Tensor } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import type { Weights } from "../../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { createOptimizer, globalNorm, type OptimizerOptions, squareSum } from "../../../cloud-trainer/src/train/engines/tfjs/optimizer.ts";
import { draw } from "../../onnx/seeded-weights.ts";

type Switches = Partial<Record<"biasCorrection" | "gradAveraging" | "trustClip" | "alwaysAdapt" | "caution" | "decoupledDecay", boolean>>;
type Case = Switches & {
  name: string;
  optimizer: "lamb" | "adamw";
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  clipNorm: number | null;
  correctedDecay?: boolean;
  gradientScale: number;
  rate: number;
  biasShare: number;
  /** How far PyTorch's own float32 ends from float64. */
  float32Off: number;
  after: Record<string, Record<string, number[]>>;
};
type Golden = { shapes: Record<string, number[]>; steps: number; cases: Case[] };

const FIXTURES = join(import.meta.dirname, "../../fixtures/train");
const PYTHON = process.env["KENPIN_PYTHON"];
const golden = JSON.parse(readFileSync(join(FIXTURES, "optimizers.json"), "utf8")) as Golden;
const { tf, name: backend } = await loadBackend();
/** The largest relative distance ‖ours − theirs‖ / ‖theirs‖ of any tensor at any of the stored steps. */
const LIMIT = 1e-6;

for (const one of golden.cases) {
  test(`${one.optimizer} with ${one.name} ends a hundred steps where PyTorch's does in float64`, () => {
    const off = distance(one);
    assert.ok(off <= LIMIT, `off by ${off}; PyTorch's own float32 is off by ${one.float32Off}`);
  });
}

test("without TensorFlow's own kernels it ends there too", async () => {
  await tf.setBackend("cpu");
  try {
    for (const one of golden.cases) {
      const off = distance(one);
      assert.ok(off <= LIMIT, `${one.optimizer} with ${one.name} is off by ${off}`);
    }
  } finally {
    await tf.setBackend(backend === "tfjs-node" ? "tensorflow" : backend);
  }
});

test("timm and PyTorch, asked now, answer as the golden file says", { skip: PYTHON ? false : "KENPIN_PYTHON names no interpreter" }, () => {
  const { status, stdout, stderr } = spawnSync(PYTHON as string, [join(FIXTURES, "make_optimizers.py"), "--stdout"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const now = JSON.parse(stdout) as Golden;
  assert.deepEqual(
    now.cases.map(({ name }) => name),
    golden.cases.map(({ name }) => name),
  );
  for (const [i, one] of now.cases.entries()) {
    for (const [step, tensors] of Object.entries(one.after)) {
      for (const [key, values] of Object.entries(tensors)) {
        assert.ok(relative(golden.cases[i]?.after[step]?.[key] as number[], values) < 1e-8, `${one.name}, step ${step}, ${key}`);
      }
    }
  }
});

test("trust in a group: one ratio over all matrices of the same rate and decay, worked out by hand", () => {
  // The first step of LAMB: m/c1 = g and v/c2 = g², so u = sign(g) + λ·w up to ε.
  const step = (trustScope: "tensor" | "group") => {
    const weights: Weights = new Map([
      ["visual.a.weight", tf.variable(tf.tensor2d([[3, 0]]))],
      ["visual.b.weight", tf.variable(tf.tensor2d([[0], [4]]))],
      ["text.c.weight", tf.variable(tf.tensor2d([[6, 8]]))],
    ]);
    const gradients = new Map([...weights].map(([name, { shape }]) => [name, tf.ones(shape) as Tensor]));
    const options = { name: "lamb", trustScope, weightDecay: 0.5, eps: 1e-12, clipNorm: null } as const;
    createOptimizer(tf, weights, options).step(weights, gradients, { rate: 0.1, norm: Math.sqrt(6) });
    return [...weights.values()].map((w) => [...w.dataSync()]);
  };
  // u of a: (1 + 1.5, 1), of b: (1, 1 + 2), of c: (1 + 3, 1 + 4)
  const [a, b, c] = [Math.hypot(2.5, 1), Math.hypot(1, 3), Math.hypot(4, 5)];
  const moved = (ra: number, rb: number, rc: number) => [
    [3 - 0.1 * ra * 2.5, -0.1 * ra],
    [-0.1 * rb, 4 - 0.1 * rb * 3],
    [6 - 0.1 * rc * 4, 8 - 0.1 * rc * 5],
  ];
  near(step("tensor"), moved(3 / a, 4 / b, 10 / c));
  const shared = 5 / Math.hypot(a, b); // ‖(3, 0, 0, 4)‖ = 5; the text tower is a group of its own
  near(step("group"), moved(shared, shared, 10 / c));
});

for (const name of ["lamb", "adamw"] as const) {
  test(`${name} goes on from its saved state to the very same weights, whether or not weights were changed meanwhile`, () => {
    const whole = startingWeights();
    const optimizer = createOptimizer(tf, whole, { name });
    run(optimizer, whole, 0, 5);
    const state = optimizer.state();
    const resumed: Weights = new Map([...whole].map(([key, w]) => [key, tf.variable(tf.clone(w))]));
    const other = createOptimizer(tf, resumed, { name });
    run(other, startingWeights(), 0, 2);
    other.load(state);
    for (const weights of [whole, resumed]) {
      const wide = weights.get("wide.weight");
      wide?.assign(tf.mul(wide, 0.5) as never);
    }
    run(optimizer, whole, 5, 10);
    run(other, resumed, 5, 10);
    for (const [key, w] of whole) assert.deepEqual(resumed.get(key)?.dataSync(), w.dataSync(), key);
    assert.deepEqual([...other.state()], [...optimizer.state()]);
    assert.equal(optimizer.state().get("step")?.data[0], 10);
  });

  test(`${name}: a parameter without a gradient stays where it is, and keeps its moments until it has one again`, () => {
    const weights = startingWeights();
    const optimizer = createOptimizer(tf, weights, { name });
    run(optimizer, weights, 0, 2);
    const [before, moments] = [weights.get("block.weight")?.dataSync().slice(), optimizer.state().get("m.block.weight")];
    run(optimizer, weights, 2, 4, (key) => key !== "block.weight");
    assert.deepEqual(weights.get("block.weight")?.dataSync(), before);
    assert.deepEqual(optimizer.state().get("m.block.weight"), moments);
    run(optimizer, weights, 4, 5);
    assert.notDeepEqual(weights.get("block.weight")?.dataSync(), before);
  });
}

test("a state of another model is refused by name, and the optimizer goes on as it was", () => {
  const weights = startingWeights();
  const optimizer = createOptimizer(tf, weights, { name: "lamb" });
  run(optimizer, weights, 0, 1);
  const [state, before] = [optimizer.state(), optimizer.state()];
  state.set("v.wide.weight", { shape: [2], data: new Float32Array(2) });
  assert.throws(() => optimizer.load(state), {
    code: "optimizer-state-mismatch",
    message: /"v\.wide\.weight" of shape \[10,13\], found one of \[2\]/,
  });
  state.delete("v.wide.weight");
  assert.throws(() => optimizer.load(state), { code: "optimizer-state-mismatch", message: /found none/ });
  assert.deepEqual([...optimizer.state()], [...before]);
});

test("a step leaves no tensor behind, and disposing leaves only the weights", () => {
  const weights = startingWeights();
  const started = tf.memory().numTensors;
  const optimizer = createOptimizer(tf, weights, { name: "lamb", caution: true, trustScope: "group" });
  const steps = (from: number) => tf.tidy(() => run(optimizer, weights, from, from + 2));
  steps(0);
  const settled = tf.memory().numTensors;
  steps(2);
  tf.tidy(() => run(optimizer, weights, 4, 5, (key) => key !== "block.bias"));
  steps(5);
  optimizer.load(optimizer.state());
  steps(7);
  assert.equal(tf.memory().numTensors, settled);
  optimizer.dispose();
  assert.equal(tf.memory().numTensors, started);
});

test("a gradient's norm is that of all its parts; no parts have none", () => {
  const parts = [tf.tensor1d([1, 2]), tf.tensor2d([[2], [4]]), tf.scalar(12)];
  near([[...globalNorm(tf, new Map(parts.map((part, i) => [`part ${i}`, part]))).dataSync()]], [[13]]);
  near([[...squareSum(tf, parts.slice(0, 2)).dataSync()], [...squareSum(tf, []).dataSync()]], [[25], [0]]);
});

function optionsOf(one: Case): OptimizerOptions {
  const { beta1, beta2, eps, weightDecay, clipNorm } = one;
  const common = { beta1, beta2, eps, weightDecay, clipNorm };
  if (one.optimizer === "adamw") return { name: "adamw", ...common };
  const {
    biasCorrection = true,
    gradAveraging = true,
    trustClip = false,
    alwaysAdapt = false,
    caution = false,
    decoupledDecay = false,
  } = one;
  const correctedDecayPeak = one.correctedDecay ? one.rate : null;
  return { name: "lamb", ...common, biasCorrection, gradAveraging, trustClip, alwaysAdapt, caution, decoupledDecay, correctedDecayPeak };
}

function distance(one: Case): number {
  const weights = startingWeights();
  const optimizer = createOptimizer(tf, weights, optionsOf(one), (key) => (key === "block.bias" ? one.biasShare : 1));
  let largest = 0;
  for (let step = 0; step < golden.steps; step++) {
    const gradients = gradientsAt(step, one.gradientScale);
    const norm = globalNorm(tf, gradients).dataSync()[0] as number;
    optimizer.step(weights, gradients, { rate: one.rate * (1 - step / (2 * golden.steps)), norm });
    tf.dispose([...gradients.values()]);
    for (const [key, values] of Object.entries(one.after[step + 1] ?? {}))
      largest = Math.max(largest, relative([...(weights.get(key)?.dataSync() ?? [])], values));
  }
  optimizer.dispose();
  return largest;
}

function run(
  optimizer: ReturnType<typeof createOptimizer>,
  weights: Weights,
  from: number,
  to: number,
  held: (key: string) => boolean = () => true,
): void {
  for (let step = from; step < to; step++) {
    const gradients = new Map([...gradientsAt(step, 1)].filter(([key]) => held(key)));
    optimizer.step(weights, gradients, { rate: 0.01, norm: globalNorm(tf, gradients).dataSync()[0] as number });
  }
}

function gradientsAt(step: number, scale: number): Map<string, Tensor> {
  const gradients = new Map<string, Tensor>();
  for (const [key, shape] of Object.entries(golden.shapes)) {
    const values = draw(`gradient ${step} ${key}`, sizeOf(shape)).map((u) => u * scale);
    gradients.set(key, tf.tensor(Float32Array.from(values), shape));
  }
  return gradients;
}

function startingWeights(): Weights {
  const weights: Weights = new Map();
  for (const [name, shape] of Object.entries(golden.shapes)) {
    const scale = name.startsWith("zeros") ? 0 : 0.5;
    weights.set(name, tf.variable(tf.tensor(Float32Array.from(draw(name, sizeOf(shape)).map((u) => u * scale)), shape)));
  }
  return weights;
}

function sizeOf(shape: number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** ‖actual − expected‖ / ‖expected‖ */
function relative(actual: number[], expected: number[]): number {
  assert.equal(actual.length, expected.length);
  return Math.hypot(...expected.map((value, i) => value - (actual[i] as number))) / Math.hypot(...expected);
}

function near(actual: number[][], expected: number[][]): void {
  for (const [i, row] of expected.entries())
    for (const [j, value] of row.entries())
      assert.ok(
        Math.abs((actual[i]?.[j] as number) - value) <= 2e-6 * Math.max(1, Math.abs(value)),
        `${actual[i]?.[j]}, expected ${value}`,
      );
}
