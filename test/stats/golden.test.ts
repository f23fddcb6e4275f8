/** Numbers of scikit-learn, NumPy and the reference generator; made by test/fixtures/stats/make_stats.py. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { auroc, createRandom, logisticLine, logisticRegression, quantile } from "@kenpin/stats";

type Labels = (0 | 1)[];
type Golden = {
  auroc: { scores: number[]; labels: Labels; auroc: number }[];
  quantile: { values: number[]; q: number; quantile: number }[];
  regression: { rows: number[][]; labels: Labels; penalty: number; probabilities: number[] }[];
  line: { values: number[]; labels: Labels; penalty: number; slope: number; intercept: number }[];
  xoshiro: { state: number[]; values: number[] };
};
const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/stats/stats.json"), "utf8")) as Golden;

test("AUROC is scikit-learn's, also where many scores are the same", () => {
  for (const { scores, labels, auroc: expected } of golden.auroc) near(auroc(scores, labels), expected, 1e-12);
});

test("quantiles are NumPy's", () => {
  for (const { values, q, quantile: expected } of golden.quantile) near(quantile(values, q), expected, 1e-12);
});

test("a logistic regression's probabilities are scikit-learn's, with columns of any scale and one that says nothing", () => {
  for (const { rows, labels, penalty, probabilities } of golden.regression) {
    const probability = logisticRegression(rows, labels, penalty);
    for (const [i, row] of rows.entries()) near(probability(row), probabilities[i] as number, 1e-6);
  }
});

test("a logistic line's slope and intercept are scikit-learn's", () => {
  for (const { values, labels, penalty, slope, intercept } of golden.line) {
    const line = logisticLine(values, labels, penalty);
    near(line.slope / slope, 1, 1e-6);
    near(line.intercept / intercept, 1, 1e-6);
  }
});

test("the random stream is xoshiro128** as its authors wrote it", () => {
  const { next } = createRandom(golden.xoshiro.state);
  assert.deepEqual(
    golden.xoshiro.values.map(() => next() * 2 ** 32),
    golden.xoshiro.values,
  );
});

function near(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not within ${tolerance} of ${expected}`);
}
