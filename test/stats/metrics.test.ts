/** Metrics that a decision rests on, against scikit-learn and SciPy (test/fixtures/stats/make_metrics.py). */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  auroc,
  averagePrecision,
  bestF1,
  brierScore,
  calibrationError,
  confusionAt,
  createPixelRanking,
  createRandom,
  exactInterval,
  perRegionOverlap,
  ratesOf,
  rocCurve,
} from "@kenpin/stats";

type ImageCase = { scores: number[]; labels: (0 | 1)[]; cut: number };
type PixelCase = { frames: { values: number[]; mask: number[] | null; width: number; height: number }[]; limit: number };
type IntervalCase = { successes: number; trials: number; level: number };
type Cases = { image: ImageCase[]; pixel: PixelCase[]; interval: IntervalCase[] };
type ImageAnswer = Record<"auroc" | "averagePrecision" | "f1Max" | "accuracy" | "escapeRate" | "overkillRate", number> &
  Record<"even" | "adaptive" | "brier", number> & { roc: { fpr: number[]; tpr: number[]; thresholds: (number | null)[] } };
type Answer = {
  image: ImageAnswer[];
  pixel: { auroc: number; aupro: number; regions: number }[];
  interval: [number, number][];
};

const FIXTURES = join(import.meta.dirname, "../fixtures/stats");
const PYTHON = process.env["KENPIN_PYTHON"];

test("metrics of parts and pixels, and intervals of rates, are scikit-learn's and SciPy's, ties and all", () => {
  const { given, answer } = JSON.parse(readFileSync(join(FIXTURES, "metrics.json"), "utf8")) as { given: Cases; answer: Answer };
  agree(given, answer);
});

test("the same on cases nobody has seen", { skip: PYTHON ? false : "KENPIN_PYTHON names no Python with scikit-learn and SciPy" }, (t) => {
  const seed = Number(process.hrtime.bigint() % 1_000_000n);
  t.diagnostic(`seed ${seed}`);
  const given = randomCases(seed);
  const answer = spawnSync(PYTHON as string, [join(FIXTURES, "make_metrics.py"), "--live"], {
    input: JSON.stringify(given),
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  assert.equal(answer.status, 0, answer.stderr);
  agree(given, JSON.parse(answer.stdout) as Answer);
});

function agree(given: Cases, answer: Answer): void {
  for (const [i, one] of given.image.entries()) agreeOnImages(one, answer.image[i] as ImageAnswer);
  for (const [i, { frames, limit }] of given.pixel.entries()) {
    const expected = answer.pixel[i] as Answer["pixel"][number];
    const typed = frames.map(({ values, mask, width, height }) => ({
      width,
      height,
      values: Float32Array.from(values),
      mask: mask && Uint8Array.from(mask),
    }));
    const ranking = createPixelRanking();
    for (const frame of typed) ranking.add(frame);
    near(ranking.auroc(), expected.auroc, "pixel AUROC");
    near(ranking.perRegionOverlap(limit), expected.aupro, "per-region overlap");
    near(perRegionOverlap(typed, { maxFalsePositiveRate: limit }), expected.aupro, "per-region overlap at once");
    assert.equal(ranking.regions(), expected.regions);
    assert.ok(ranking.isExact());
  }
  for (const [i, { successes, trials, level }] of given.interval.entries()) {
    const { low, high } = exactInterval({ count: successes, of: trials }, level);
    const [expectedLow, expectedHigh] = answer.interval[i] as [number, number];
    near(low, expectedLow, `low end of ${successes} in ${trials}`);
    near(high, expectedHigh, `high end of ${successes} in ${trials}`);
  }
}

function agreeOnImages({ scores, labels, cut }: ImageCase, expected: ImageAnswer): void {
  near(auroc(scores, labels), expected.auroc, "AUROC");
  near(averagePrecision(scores, labels), expected.averagePrecision, "average precision");
  const best = bestF1(scores, labels);
  near(best.f1, expected.f1Max, "best F1");
  const { truePositives, falsePositives, falseNegatives } = confusionAt(scores, labels, best.threshold);
  near((2 * truePositives) / (2 * truePositives + falsePositives + falseNegatives), expected.f1Max, "F1 at its threshold");
  const rates = ratesOf(confusionAt(scores, labels, cut));
  for (const rate of ["accuracy", "escapeRate", "overkillRate"] as const) near(rates[rate], expected[rate], rate);
  near(calibrationError(scores, labels), expected.even, "calibration error");
  near(calibrationError(scores, labels, { binning: "adaptive" }), expected.adaptive, "adaptive calibration error");
  near(brierScore(scores, labels), expected.brier, "Brier score");
  const points = rocCurve(scores, labels);
  assert.equal(points.length, expected.roc.fpr.length);
  for (const [i, { threshold, falsePositiveRate, truePositiveRate }] of points.entries()) {
    near(falsePositiveRate, expected.roc.fpr[i] as number, "false positive rate");
    near(truePositiveRate, expected.roc.tpr[i] as number, "true positive rate");
    assert.equal(threshold, expected.roc.thresholds[i] ?? Number.POSITIVE_INFINITY);
  }
}

function randomCases(seed: number): Cases {
  const random = createRandom(seed);
  const image = [20, 101, 400].map((size): ImageCase => {
    const labels = Array.from({ length: size }, (_, i) => (i < 2 ? i : random.int(2)) as 0 | 1);
    const digits = 10 ** (1 + random.int(3));
    const scores = labels.map((label) => Math.round(Math.min(1, Math.max(0, 0.4 + 0.2 * label + 0.2 * random.normal())) * digits) / digits);
    return { scores, labels, cut: 0.5 };
  });
  const pixel = [5, 17, 31].map((side): PixelCase => {
    const draw = <T>(of: () => T) => Array.from({ length: side * side }, of);
    const levels = 2 + random.int(60);
    const frames = [0, 1, 2].map((i) => {
      const mask = i === 0 ? null : draw(() => Number(random.next() < 0.2));
      return { width: side, height: side, mask, values: draw(() => random.int(levels) / 16 - 1) };
    });
    (frames[1]?.mask as number[])[0] = 1;
    return { frames, limit: random.pick([0.3, 0.1, 1]) };
  });
  const interval = [1, 9, 80, 3000].map((trials) => ({ trials, successes: random.int(trials + 1), level: random.between(0.5, 0.999) }));
  return { image, pixel, interval };
}

function near(actual: number, expected: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= 1e-9, `${what}: ${actual}, expected ${expected}`);
}
