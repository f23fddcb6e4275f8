/** Promises on scores: the rules by hand, and what they keep in simulated factories. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  type CalibratedLabel,
  confidenceOf,
  conformalCut,
  conformalPValue,
  conforms,
  createRandom,
  type Random,
  samplesNeeded,
} from "@kenpin/stats";

type Golden = {
  sets: { scores: number[]; label: CalibratedLabel; alpha: number; asked: number[]; p: number[]; conforms: boolean[] }[];
  ranks: { n: number; alpha: number; confidence: number; rank: number }[];
  needed: { alpha: number; confidence: number; needed: number }[];
};
/** Of NumPy and SciPy; made by test/fixtures/stats/make_promises.py. */
const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/stats/promises.json"), "utf8")) as Golden;

const NINE = [0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];

test("with nine samples and a tenth, the strangest sample is the cut; with eight nothing can be promised", () => {
  const onAverage = { alpha: 0.1, confidence: null };
  assert.deepEqual(conformalCut(NINE, { label: "bad", ...onAverage }), { cut: 0.1, samples: 9, missing: 0 });
  assert.deepEqual(conformalCut(NINE, { label: "good", ...onAverage }), { cut: 0.9, samples: 9, missing: 0 });
  assert.deepEqual(conformalCut(NINE.slice(1), { label: "bad", ...onAverage }), { cut: null, samples: 8, missing: 1 });
  assert.deepEqual(conformalCut([], { label: "bad", alpha: 0.05, confidence: null }), { cut: null, samples: 0, missing: 19 });
});

test("p-values and prediction sets are those that NumPy counts, with heavy ties and without", () => {
  for (const { scores, label, alpha, asked, p, conforms: expected } of golden.sets) {
    const { cut } = conformalCut(scores, { label, alpha, confidence: null });
    for (const [i, score] of asked.entries()) {
      assert.ok(Math.abs(conformalPValue(scores, score, label) - (p[i] as number)) < 1e-12);
      assert.equal(conforms(score, label, cut), expected[i], `${label}, ${alpha}: ${score} of ${scores}`);
    }
  }
});

test("ranks that hold with a confidence are those of SciPy's beta distribution", () => {
  for (const { n, alpha, confidence, rank } of golden.ranks) {
    const scores = Array.from({ length: n }, (_, i) => i / n);
    const { cut, missing } = conformalCut(scores, { label: "bad", alpha, confidence });
    assert.equal(cut, rank === 0 ? null : (rank - 1) / n, `${n} samples, ${alpha}, ${confidence}`);
    assert.equal(missing > 0, rank === 0);
  }
  for (const { alpha, confidence, needed } of golden.needed) assert.equal(samplesNeeded(alpha, confidence), needed);
});

test("a label is left out exactly where its p-value is alpha or less, ties and all", () => {
  const random = createRandom(4);
  for (let round = 0; round < 200; round++) {
    const scores = Array.from({ length: 1 + random.int(60) }, () => random.int(12) / 12);
    const alpha = random.pick([0.05, 0.1, 0.2, 0.34]);
    for (const label of ["good", "bad"] as const) {
      const { cut } = conformalCut(scores, { label, alpha, confidence: null });
      for (let s = 0; s <= 12; s++) {
        const isIn = conformalPValue(scores, s / 12, label) > alpha + 1e-12;
        assert.equal(conforms(s / 12, label, cut), isIn, `${label} ${s / 12} of ${scores}`);
      }
    }
  }
});

test("how many samples a promise takes: 1/alpha − 1 on average, ln(1 − confidence)/ln(1 − alpha) for sure", () => {
  assert.deepEqual([samplesNeeded(0.05, null), samplesNeeded(0.1, null)], [19, 9]);
  // Wilks' well-known 59 and 22, and 299 for one in a hundred
  assert.deepEqual([samplesNeeded(0.05, 0.95), samplesNeeded(0.1, 0.9), samplesNeeded(0.01, 0.95)], [59, 22, 299]);
  assert.ok(confidenceOf(59, 0.05) >= 0.95 && confidenceOf(58, 0.05) < 0.95);
  // Second and third order: 93 and 124 samples for 95 % of 95 %
  for (const [n, rank] of [
    [59, 1],
    [92, 1],
    [93, 2],
    [124, 3],
    [153, 4],
  ] as const) {
    // biome-ignore format: a table
    const scores = Array.from({ length: n }, (_, i) => i / n);
    assert.equal(conformalCut(scores, { label: "bad", alpha: 0.05, confidence: 0.95 }).cut, (rank - 1) / n, `${n} samples`);
  }
});

/** Scores of the two labels overlap; the second kind has heavy ties, the third is skewed. */
const FACTORIES: Record<string, (random: Random, label: "good" | "bad") => number> = {
  smooth: (random, label) => sigmoid(random.normal() + (label === "bad" ? 1 : -1)),
  tied: (random, label) => Math.round(4 * sigmoid(random.normal() + (label === "bad" ? 1 : -1))) / 4,
  skewed: (random, label) => (label === "bad" ? 1 - random.next() ** 3 : random.next() ** 3),
};

for (const [kind, draw] of Object.entries(FACTORIES)) {
  for (const [n, alpha] of [
    [40, 0.1],
    [25, 0.05],
    [99, 0.2],
  ] as const) {
    test(`over a thousand calibrations on ${n} ${kind} scores each label is covered at least ${1 - alpha} of the time and hardly more`, () => {
      const random = createRandom(n);
      for (const label of ["good", "bad"] as const) {
        const covered: number[] = [];
        for (let calibration = 0; calibration < 1000; calibration++) {
          const scores = Array.from({ length: n }, () => draw(random, label));
          const { cut } = conformalCut(scores, { label, alpha, confidence: null });
          const tested = Array.from({ length: 100 }, () => draw(random, label));
          covered.push(tested.filter((score) => conforms(score, label, cut)).length / tested.length);
        }
        const mean = covered.reduce((sum, value) => sum + value, 0) / covered.length;
        // Of the draws of calibration and of test together.
        const error = Math.sqrt(covered.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (covered.length - 1) / covered.length);
        assert.ok(mean >= 1 - alpha - 2 * error, `${label}: ${mean}`);
        if (kind !== "tied") assert.ok(mean <= 1 - alpha + 1 / (n + 1) + 2 * error, `${label}: ${mean}`);
      }
    });
  }
}

test("with a confidence, no more than the rest of calibrations let more than alpha through", () => {
  const random = createRandom(8);
  const [alpha, confidence] = [0.1, 0.9];
  for (const n of [22, 60]) {
    let broken = 0;
    for (let calibration = 0; calibration < 20_000; calibration++) {
      const scores = Array.from({ length: n }, () => random.next());
      // Uniform scores: the share of bad parts below the cut is the cut itself.
      if ((conformalCut(scores, { label: "bad", alpha, confidence }).cut as number) > alpha) broken++;
    }
    const share = broken / 20_000;
    assert.ok(share <= 1 - confidence + 2 * Math.sqrt(0.09 / 20_000), `${n}: ${share}`);
    assert.ok(share > 0.02, "the promise is not far from what could be had");
  }
});

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
