/** Logistic regression by rows: scikit-learn's numbers (test/fixtures/stats/make_dual.py), and the form by columns. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createRandom, dualLogisticRegression, logisticRegression } from "@kenpin/stats";

type Case = { rows: number[][]; labels: (0 | 1)[]; penalty: number; counts: number[] };
const FIXTURES = join(import.meta.dirname, "../fixtures/stats");
const golden = JSON.parse(readFileSync(join(FIXTURES, "dual.json"), "utf8")) as (Case & { logits: number[] })[];
const PYTHON = process.env["KENPIN_PYTHON"];

test("with far more columns than rows the logits are scikit-learn's, also where some rows count more", () => {
  for (const one of golden) agree(logitsOf(one), one.logits);
});

test("the same on rows nobody has seen", { skip: PYTHON ? false : "KENPIN_PYTHON names no Python with scikit-learn" }, () => {
  const random = createRandom(Number(process.hrtime.bigint() % 1_000_000n));
  const cases = [0.01, 1, 100].map((penalty): Case => {
    const labels = Array.from({ length: 26 }, (_, i) => (i % 2) as 0 | 1);
    const rows = labels.map((label) => Array.from({ length: 120 }, () => random.normal() + 0.3 * label));
    return { rows, labels, penalty, counts: labels.map(() => random.between(0.5, 2)) };
  });
  const answer = spawnSync(PYTHON as string, [join(FIXTURES, "make_dual.py"), "--live"], {
    input: JSON.stringify(cases),
    encoding: "utf8",
  });
  assert.equal(answer.status, 0, answer.stderr);
  for (const [i, logits] of (JSON.parse(answer.stdout) as number[][]).entries()) agree(logitsOf(cases[i] as Case), logits);
});

test("by rows and by columns it is one fit; a class told apart entirely stays finite", () => {
  const random = createRandom(3);
  const labels = Array.from({ length: 40 }, (_, i) => (i % 2) as 0 | 1);
  const rows = labels.map((label) => [random.normal() + label, random.normal()]);
  const probability = logisticRegression(rows, labels, 2);
  const centred = [0, 1].map((j) => standard(rows.map((row) => row[j] as number)));
  const standardised = rows.map((_, i) => centred.map((column) => column[i] as number));
  const logits = logitsOf({ rows: standardised, labels, penalty: 2, counts: labels.map(() => 1) });
  for (const [i, row] of rows.entries()) assert.ok(Math.abs(1 / (1 + Math.exp(-(logits[i] as number))) - probability(row)) < 1e-6);
  const apart = labels.map((label) => [label * 1000]);
  for (const logit of logitsOf({ rows: apart, labels, penalty: 1e-3, counts: labels.map(() => 1) })) assert.ok(Number.isFinite(logit));
});

function logitsOf({ rows, labels, penalty, counts }: Case): number[] {
  const gram = Float64Array.from(rows.flatMap((a) => rows.map((b) => a.reduce((sum, value, i) => sum + value * (b[i] as number), 0))));
  const { alpha, intercept } = dualLogisticRegression(gram, labels, { penalty, counts });
  return rows.map((_, i) => alpha.reduce((sum, value, j) => sum + value * (gram[i * rows.length + j] as number), intercept));
}

function agree(actual: number[], expected: number[]): void {
  for (const [i, logit] of actual.entries()) {
    assert.ok(Math.abs(logit - (expected[i] as number)) < 1e-4, `row ${i}: ${logit}, scikit-learn ${expected[i]}`);
  }
}

function standard(values: number[]): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
  return values.map((value) => (value - mean) / deviation);
}
