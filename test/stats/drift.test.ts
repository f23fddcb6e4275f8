/** Two sets of rows from one distribution or from two: against NumPy, and what the test keeps in simulation. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createRandom, kernelTwoSample, populationStability, type Random } from "@kenpin/stats";

type Golden = {
  block: number;
  leastSpread: number[];
  cases: { reference: number[][]; window: number[][]; mmd2: number; stability: number[] }[];
};
/** Of NumPy and SciPy; made by test/fixtures/stats/make_drift.py. */
const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/stats/drift.json"), "utf8")) as Golden;
const LEAST = [0.01, 0.01, 0.01];

test("MMD² and population stability are those of NumPy", () => {
  for (const { reference, window, mmd2, stability } of golden.cases) {
    const options = { block: golden.block, alpha: 0.05, leastSpread: golden.leastSpread, random: createRandom(1) };
    const found = kernelTwoSample(reference, window, options).mmd2;
    assert.ok(Math.abs(found - mmd2) < 1e-9, `${found}, NumPy has ${mmd2}`);
    for (const [i, expected] of stability.entries()) {
      const column = (rows: number[][]) => rows.map((row) => row[i] as number);
      const index = populationStability(column(reference), column(window));
      assert.ok(Math.abs(index - expected) < 1e-9, `${index}, NumPy has ${expected}`);
    }
  }
});

test("where nothing changed, a share of alpha is taken for a change and not more", () => {
  const random = createRandom(2);
  const alpha = 0.05;
  const repeats = 600;
  let found = 0;
  for (let i = 0; i < repeats; i++) {
    const { p } = kernelTwoSample(rows(random, 60), rows(random, 20), { block: 1, alpha, leastSpread: LEAST, random });
    if (p <= alpha) found++;
  }
  // Four standard deviations of a binomial draw, both ways: a test that never rejects is none either.
  const slack = 4 * Math.sqrt(repeats * alpha * (1 - alpha));
  assert.ok(Math.abs(found - repeats * alpha) < slack, `${found} of ${repeats}`);
});

test("rows that hang together are no change where blocks are permuted, and would be one where rows are", () => {
  const random = createRandom(3);
  const alpha = 0.05;
  const found = { 1: 0, 10: 0 };
  for (let i = 0; i < 150; i++) {
    const walk = slow(random, 150);
    for (const block of [1, 10] as const) {
      const options = { block, alpha, leastSpread: [0.01], random };
      if (kernelTwoSample(walk.slice(0, 100), walk.slice(100), options).p <= alpha) found[block]++;
    }
  }
  assert.ok(found[1] > 60, `${found[1]} of 150 by rows`);
  assert.ok(found[10] < 30, `${found[10]} of 150 by blocks`);
});

test("a change of place, of spread or of how figures hang together is found", () => {
  const random = createRandom(4);
  const reference = rows(random, 200);
  const changes: Record<string, (row: number[]) => number[]> = {
    place: ([a, b, c]) => [(a as number) + 1.5, b as number, c as number],
    spread: (row) => row.map((value) => 3 * value),
    together: ([a, , c]) => [a as number, a as number, c as number],
  };
  for (const [what, change] of Object.entries(changes)) {
    const { p } = kernelTwoSample(reference, rows(random, 100).map(change), { block: 1, alpha: 0.001, leastSpread: LEAST, random });
    assert.ok(p <= 0.001, `${what}: ${p}`);
  }
});

test("a figure that hardly varies, or a set too small for two blocks, says nothing", () => {
  const random = createRandom(5);
  const same = (value: number, count: number) => Array.from({ length: count }, () => [value + random.between(-1e-6, 1e-6)]);
  const options = { alpha: 0.01, leastSpread: [0.1], random };
  assert.ok(kernelTwoSample(same(3, 100), same(3.001, 30), { ...options, block: 5 }).mmd2 < 1e-3);
  assert.deepEqual(kernelTwoSample(same(3, 100), same(9, 9), { ...options, block: 5 }), { mmd2: 0, p: 1 });
});

test("population stability is 0 for the same values, grows with the way gone, and stands values that are all alike", () => {
  const values = Array.from({ length: 100 }, (_, i) => i);
  assert.equal(populationStability(values, values), 0);
  const [near, far] = [5, 40].map((way) =>
    populationStability(
      values,
      values.map((value) => value + way),
    ),
  ) as [number, number];
  assert.ok(near > 0 && far > 5 * near, `${near}, ${far}`);
  assert.ok(Number.isFinite(populationStability([3, 3, 3, 3], [5, 5])));
  assert.equal(populationStability([], [1]), 0);
});

function rows(random: Random, count: number): number[][] {
  return Array.from({ length: count }, () => [random.normal(), 10 + random.normal(), 0.5 * random.normal()]);
}

/** A figure with a memory: each value has 0.8 of the one before. */
function slow(random: Random, count: number): number[][] {
  let value = random.normal();
  return Array.from({ length: count }, () => {
    value = 0.8 * value + 0.6 * random.normal();
    return [value];
  });
}
