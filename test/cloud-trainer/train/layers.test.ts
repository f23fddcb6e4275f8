/**
 * Layers and losses with hand-written gradients: their values against the formula in float64, their gradients against central
 * differences of that formula, so that neither can share a mistake with the code.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  loadBackend,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
} from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { kernelsOf } from "../../../cloud-trainer/src/train/engines/tfjs/kernels.ts";
import {
  gelu,
  geluGradient,
  lookup,
  normalise,
  products,
  productsGradient,
  swiglu,
  swigluGradient,
} from "../../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { type Kernels, portableKernels } from "../../../cloud-trainer/src/train/engines/tfjs/portable-kernels.ts";
import { meanOfTop } from "../../../cloud-trainer/src/train/engines/tfjs/losses.ts";
import { draw } from "../../onnx/seeded-weights.ts";

const { tf } = await loadBackend();
const [ROWS, COLUMNS] = [3, 7];
const EPS = 1e-5;

type Rows = number[][];
/** Inputs → outputs, each row by row; the reference in float64. */
type Formula = (inputs: Rows[]) => Rows;

const KERNELS: [string, Kernels][] = [
  ["TensorFlow's own kernels", kernelsOf(tf)],
  ["portable operations", portableKernels(tf)],
];

for (const [by, kernels] of KERNELS) {
  test(`a norm of columns and its gradient, by ${by}`, () => {
    const formula: Formula = ([x]) => {
      const columns = transposed(x as Rows).map((column) => {
        const mean = column.reduce((sum, v) => sum + v, 0) / column.length;
        const variance = column.reduce((sum, v) => sum + (v - mean) ** 2, 0) / column.length;
        return column.map((v) => (v - mean) / Math.sqrt(variance + EPS));
      });
      return transposed(columns);
    };
    const layer = byHand(([x]) => {
      const [normal, inverse] = kernels.norm(x as Tensor2D, EPS);
      return { y: normal, back: (dy) => [kernels.normGradient(dy as Tensor2D, normal, inverse)] };
    });
    check(formula, layer, [rows("x", ROWS, 3)]);
  });

  test(`pairs turned by a table of angles, and back, by ${by}`, () => {
    const angles = [0.3, -1.2, 2.5];
    const table = tf.tensor1d(angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]));
    const formula: Formula = ([x]) =>
      (x as Rows).map((row) =>
        angles.flatMap((angle, i) => {
          const [re, im] = [row[2 * i] as number, row[2 * i + 1] as number];
          return [re * Math.cos(angle) - im * Math.sin(angle), re * Math.sin(angle) + im * Math.cos(angle)];
        }),
      );
    const turn = (x: Tensor, back: boolean) => tf.reshape(kernels.rotate(tf.reshape(x, [1, 1, ROWS, 6]) as Tensor4D, table, back), x.shape);
    const layer = byHand(([x]) => ({ y: turn(x as Tensor, false), back: (dy) => [turn(dy, true)] }));
    check(formula, layer, [rows("x", ROWS, 2, 6)]);
  });

  test(`SiLU's gate, its product halved beforehand, and its gradient by both of its inputs, also far from zero, by ${by}`, () => {
    const formula: Formula = ([a, b]) =>
      (a as Rows).map((row, i) => row.map((v, j) => ((2 * v) / (1 + Math.exp(-2 * v))) * ((b as Rows)[i]?.[j] as number)));
    const layer = byHand(([a, b]) => {
      const [y, t] = swiglu(tf, a as Tensor2D, b as Tensor2D);
      return { y, back: (dy) => swigluGradient(tf, kernels, dy as Tensor2D, [a as Tensor2D, b as Tensor2D, t]) };
    });
    check(formula, layer, [rows("gate", ROWS, 4), rows("value", ROWS, 2)]);
  });

  test(`rows that are looked up twice get both gradients, by ${by}`, () => {
    const gradient = kernels.scatterRows(tf.tensor2d([[1, 2], [3, 4], [5, 6]]), tf.tensor1d([2, 0, 2], "int32"), 4); // biome-ignore format: rows
    assert.deepEqual(gradient.arraySync(), [[3, 4], [0, 0], [6, 8], [0, 0]]); // biome-ignore format: rows
  });
}

test("exact GELU between products scaled by 1/√2, and its gradient, also far from zero", () => {
  const formula: Formula = ([z]) => (z as Rows).map((row) => row.map((v) => v * (1 + erf(v))));
  const layer = byHand(([z]) => {
    const [y, e] = gelu(tf, z as Tensor2D);
    return { y, back: (dy) => [geluGradient(tf, dy as Tensor2D, [z as Tensor2D, e])] };
  });
  check(formula, layer, [rows("z", ROWS, 3.5)]);
});

test("two products of one norm at once: gradients by input, weights, biases, scale and shift", () => {
  const [first, second] = [{ weightScale: 0.5, biasScale: 0.5 }, { weightScale: 3 }];
  const formula: Formula = ([x, w1, b1, w2, gamma, beta]) => {
    const input = transposed(x as Rows).map((column) => column.map((v, i) => v * (gamma?.[0]?.[i] as number) + (beta?.[0]?.[i] as number)));
    const times = (w: Rows, by: number) =>
      w.map((row) => input.map((column) => by * row.reduce((sum, v, i) => sum + v * (column[i] as number), 0)));
    const top = times(w1 as Rows, 0.5).map((row, i) => row.map((v) => v + 0.5 * (b1?.[0]?.[i] as number)));
    return [...top, ...times(w2 as Rows, 3)];
  };
  const layer = byHand(([x, w1, b1, w2, gamma, beta]) => {
    const parts = [
      { weight: w1 as Tensor, bias: tf.reshape(b1 as Tensor, [-1]), ...first },
      { weight: w2 as Tensor, bias: null, ...second },
    ];
    const affine = { gamma: tf.reshape(gamma as Tensor, [-1]), beta: tf.reshape(beta as Tensor, [-1]) };
    const back = (dy: Tensor) => {
      const { dx, weights, biases, ...rest } = productsGradient(tf, {
        dy: tf.split(dy as Tensor2D, [2, 4], 0),
        x: x as Tensor2D,
        parts,
        affine,
      });
      const row = (one: Tensor | undefined) => tf.reshape(one as Tensor, [1, -1]);
      return [dx, weights[0] as Tensor, row(biases[0]), weights[1] as Tensor, row(rest.gamma), row(rest.beta)];
    };
    return { y: tf.concat(products(tf, x as Tensor2D, parts, affine), 0), back };
  });
  check(formula, layer, [
    rows("x", ROWS, 2),
    rows("w1", 2, 1, ROWS),
    rows("b1", 1, 1, 2),
    rows("w2", 4, 1, ROWS),
    rows("gamma", 1, 1, ROWS),
    rows("beta", 1, 1, ROWS),
  ]);
});

test("a table's rows by number, and its gradient: each row gets what its numbers got", () => {
  const numbers = [2, 0, 2, 1];
  const formula: Formula = ([table]) => numbers.map((number) => (table as Rows)[number] as number[]);
  check(formula, (table) => lookup(tf, table as Tensor2D, tf.tensor1d(numbers, "int32") as Tensor1D), [rows("table", ROWS, 1)]);
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

/** A differentiable function of a forward pass and the backward pass it gives. */
function byHand(forward: (inputs: Tensor[]) => { y: Tensor; back: (dy: Tensor) => Tensor[] }): (...inputs: Tensor[]) => Tensor {
  return tf.customGrad((...args) => {
    const [inputs, save] = [args.slice(0, -1), args.at(-1) as unknown as (tensors: Tensor[]) => void];
    const { y } = forward(inputs as Tensor[]);
    save(inputs as Tensor[]);
    return { value: y, gradFunc: (dy: Tensor, saved: Tensor[]) => forward(saved).back(dy) };
  }) as (...inputs: Tensor[]) => Tensor;
}

function transposed(rowsOf: Rows): Rows {
  return (rowsOf[0] as number[]).map((_, column) => rowsOf.map((row) => row[column] as number));
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
