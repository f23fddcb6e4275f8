/**
 * Layers and losses with hand-written gradients: their values against the formula in float64, their gradients against central
 * differences of that formula, so that neither can share a mistake with the code.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadBackend, type Tensor, type Tensor2D } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { gelu, layerNorm, normalise, siluGate, type Weights } from "../../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { meanOfTop } from "../../../cloud-trainer/src/train/engines/tfjs/losses.ts";
import { draw } from "../../onnx/seeded-weights.ts";

const { tf } = await loadBackend();
const [ROWS, COLUMNS] = [3, 7];
const EPS = 1e-5;

type Rows = number[][];
/** Inputs → outputs, each row by row; the reference in float64. */
type Formula = (inputs: Rows[]) => Rows;

test("layer norm, its gradient by the input, by its scale and by its shift", () => {
  const formula: Formula = ([x, gamma, beta]) =>
    (x as Rows).map((row) => {
      const mean = row.reduce((sum, v) => sum + v, 0) / row.length;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / row.length;
      return row.map((v, i) => ((v - mean) / Math.sqrt(variance + EPS)) * (gamma?.[0]?.[i] as number) + (beta?.[0]?.[i] as number));
    });
  const layer = (x: Tensor, gamma: Tensor, beta: Tensor) => {
    const weights = new Map([
      ["n.weight", tf.reshape(gamma, [-1])],
      ["n.bias", tf.reshape(beta, [-1])],
    ]) as unknown as Weights;
    return layerNorm(tf, x as Tensor2D, weights, "n", EPS);
  };
  check(formula, layer, [rows("x", ROWS, 3), rows("gamma", 1, 1), rows("beta", 1, 1)]);
});

test("SiLU's gate and its gradient by both of its inputs, also far from zero", () => {
  const formula: Formula = ([a, b]) =>
    (a as Rows).map((row, i) => row.map((v, j) => (v / (1 + Math.exp(-v))) * ((b as Rows)[i]?.[j] as number)));
  check(formula, (a, b) => siluGate(tf, a as Tensor2D, b as Tensor2D), [rows("gate", ROWS, 8), rows("value", ROWS, 2)]);
});

test("exact GELU and its gradient, also far from zero", () => {
  const formula: Formula = ([x]) => (x as Rows).map((row) => row.map((v) => (v * (1 + erf(v / Math.SQRT2))) / 2));
  check(formula, (x) => gelu(tf, x as Tensor2D), [rows("x", ROWS, 5)]);
});

test("rows scaled to length 1, and their gradient", () => {
  const formula: Formula = ([x]) => (x as Rows).map((row) => row.map((v) => v / Math.hypot(...row)));
  check(formula, (x) => normalise(tf, x), [rows("x", ROWS, 3)]);
});

for (const count of [1, 3, COLUMNS]) {
  test(`the mean of the ${count} largest of ${COLUMNS}, and its gradient, which only they get`, () => {
    const formula: Formula = ([x]) =>
      (x as Rows).map((row) => [
        row
          .toSorted((a, b) => b - a)
          .slice(0, count)
          .reduce((sum, v) => sum + v, 0) / count,
      ]);
    check(formula, (x) => meanOfTop(tf, x as Tensor2D, count), [rows("top", ROWS, 3)]);
  });
}

test("values that tie for the last place among the largest share its gradient", () => {
  const gradient = tf.grad((x: Tensor) => tf.sum(meanOfTop(tf, x as Tensor2D, 2)))(tf.tensor2d([[5, 3, 3, 1]]));
  assert.deepEqual(
    [...gradient.dataSync()].map((value) => Number(value.toFixed(6))),
    [0.333333, 0.333333, 0.333333, 0],
  );
});

/** Value and gradients of Σ out · weights, for weights drawn at random so that every output counts differently. */
function check(formula: Formula, layer: (...inputs: Tensor[]) => Tensor, inputs: Rows[]): void {
  const expected = formula(inputs);
  const tensors = inputs.map((input) => tf.tensor2d(input) as Tensor);
  assertNear([...layer(...tensors).dataSync()], expected.flat(), 1e-5);
  const share = rows("share", expected.length, 1, expected[0]?.length);
  const total = (given: Rows[]) =>
    formula(given).reduce((sum, row, i) => sum + row.reduce((s, v, j) => s + v * (share[i]?.[j] as number), 0), 0);
  const shares = tf.tensor1d(share.flat());
  const gradients = tf.grads((...given: Tensor[]) => tf.sum(tf.mul(tf.reshape(layer(...given), [-1]), shares)))(tensors);
  for (const [i, gradient] of gradients.entries()) assertNear([...gradient.dataSync()], differences(total, inputs, i).flat(), 2e-5);
}

/** Central differences by every number of the given input. */
function differences(total: (inputs: Rows[]) => number, inputs: Rows[], which: number): Rows {
  const h = 1e-5;
  const moved = (row: number, column: number, by: number) =>
    inputs.map((input, k) =>
      k !== which ? input : input.map((line, r) => (r !== row ? line : line.map((v, c) => (c === column ? v + by : v)))),
    );
  return (inputs[which] as Rows).map((line, r) => line.map((_, c) => (total(moved(r, c, h)) - total(moved(r, c, -h))) / (2 * h)));
}

function assertNear(actual: number[], expected: number[], tolerance: number): void {
  assert.equal(actual.length, expected.length);
  const scale = Math.max(1, ...expected.map(Math.abs));
  for (const [i, value] of actual.entries()) {
    assert.ok(Math.abs(value - (expected[i] as number)) <= tolerance * scale, `number ${i} is ${value}, expected ${expected[i]}`);
  }
}

/** Seeded numbers in ±scale that float32 holds exactly, so that both sides start from the same. */
function rows(name: string, count: number, scale: number, columns = COLUMNS): Rows {
  const values = draw(`${name} ${scale}`, count * columns);
  return Array.from({ length: count }, (_, r) =>
    Array.from({ length: columns }, (__, c) => Math.fround((values[r * columns + c] as number) * scale)),
  );
}

/** erf by its Maclaurin series, which for |x| < 5 is exact to 1e-9 in float64. */
function erf(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
