/**
 * Attention by hand against the formula in float64: values, gradients against central differences of that formula, and tiles
 * of any size against the form that holds all scores.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAttention } from "../../../cloud-trainer/src/train/engines/tfjs/attention.ts";
import { loadBackend, type Tensor, type Tensor4D } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { draw } from "../../onnx/seeded-weights.ts";

const { tf } = await loadBackend();
type Inputs = { q: Float64Array; k: Float64Array; v: Float64Array };
const [HEADS, SIZE] = [2, 4];

for (const causal of [false, true]) {
  for (const tile of [undefined, 3, 5]) {
    const how = `${causal ? "causal" : "full"} attention ${tile ? `in tiles of ${tile}` : "as a whole"}`;
    test(`${how} is softmax(q·kᵀ)·v, and its gradients are those of the formula`, () => {
      const tokens = 11;
      const inputs = drawInputs(HEADS, tokens, SIZE);
      const share = Float64Array.from(draw("share", HEADS * SIZE * tokens), Math.fround);
      const formula = (given: Inputs) => plain(given, { heads: HEADS, tokens, size: SIZE, causal });
      const total = (given: Inputs) => formula(given).reduce((sum, value, i) => sum + value * (share[i] as number), 0);
      const got = run(inputs, share, { heads: HEADS, tokens, size: SIZE, causal, tile });
      assertNear(got.out, formula(inputs), 1e-6);
      for (const name of ["q", "k", "v"] as const) assertNear(got[name], differences(total, inputs, name), 1e-5);
    });
  }
}

for (const causal of [false, true]) {
  test(`${causal ? "causal" : "full"} attention over 700 tokens in tiles of 96 equals the form that holds all scores, within 1e-5`, () => {
    const [tokens, size] = [700, 64];
    const inputs = drawInputs(1, tokens, size, 4);
    const share = draw("share", size * tokens);
    const shape = { heads: 1, tokens, size, causal };
    const [tiled, whole] = [run(inputs, share, { ...shape, tile: 96 }), run(inputs, share, { ...shape, tile: tokens })];
    for (const name of ["out", "q", "k", "v"] as const) assertNear(tiled[name], whole[name], 1e-5);
  });
}

test("scores far from zero neither overflow nor lose what was summed before them", () => {
  const [tokens, size] = [9, 4];
  const inputs = drawInputs(1, tokens, size, 30);
  const share = draw("share", size * tokens);
  const got = run(inputs, share, { heads: 1, tokens, size, causal: false, tile: 2 });
  assertNear(got.out, plain(inputs, { heads: 1, tokens, size, causal: false }), 1e-5);
  for (const name of ["q", "k", "v"] as const) assert.ok(got[name].every(Number.isFinite));
});

type Shape = { heads: number; tokens: number; size: number; causal: boolean; tile?: number | undefined };

/** q, k in rows [1, H, N, d], v in columns [1, H, d, N]; float64 that float32 holds exactly. */
function drawInputs(heads: number, tokens: number, size: number, scale = 1): Inputs {
  const values = (name: string, by: number) => Float64Array.from(draw(name, heads * tokens * size), (u) => Math.fround(u * by));
  return { q: values("q", scale), k: values("k", scale), v: values("v", 1) };
}

function run({ q, k, v }: Inputs, share: Float64Array, { heads, tokens, size, causal, tile }: Shape) {
  const { forward, backward } = createAttention(tf, { causal, ...(tile && { tile }) });
  const rows = (x: Float64Array) => tf.tensor4d(Float32Array.from(x), [1, heads, tokens, size]);
  const columns = (x: Float64Array) => tf.tensor4d(Float32Array.from(x), [1, heads, size, tokens]);
  const numbers = (x: Tensor) => Float64Array.from(x.dataSync());
  const { out, kept } = forward(rows(q), rows(k), columns(v));
  const { dq, dk, dv } = backward(columns(share) as Tensor4D, kept);
  return { out: numbers(out), q: numbers(dq), k: numbers(dk), v: numbers(dv) };
}

function plain({ q, k, v }: Inputs, { heads, tokens, size, causal }: Shape): Float64Array {
  const out = new Float64Array(heads * size * tokens);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < tokens; i++) {
      const seen = causal ? i + 1 : tokens;
      const scores = Array.from({ length: seen }, (_, j) => {
        let sum = 0;
        for (let c = 0; c < size; c++) sum += (q[(h * tokens + i) * size + c] as number) * (k[(h * tokens + j) * size + c] as number);
        return sum;
      });
      const top = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - top));
      const sum = weights.reduce((a, b) => a + b, 0);
      for (let c = 0; c < size; c++) {
        const row = (h * size + c) * tokens;
        out[row + i] = weights.reduce((total, weight, j) => total + (weight / sum) * (v[row + j] as number), 0);
      }
    }
  }
  return out;
}

function differences(total: (inputs: Inputs) => number, inputs: Inputs, name: keyof Inputs): Float64Array {
  const h = 1e-5;
  const moved = (at: number, by: number) => ({ ...inputs, [name]: inputs[name].map((value, i) => (i === at ? value + by : value)) });
  return inputs[name].map((_, i) => (total(moved(i, h)) - total(moved(i, -h))) / (2 * h));
}

/** Largest difference, as a share of the largest number expected. */
function assertNear(actual: Float64Array, expected: Float64Array, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  const scale = Math.max(
    1,
    expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
  );
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - (expected[i] as number))), 0);
  assert.ok(worst <= tolerance * scale, `off by ${worst}, with numbers up to ${scale}`);
}
