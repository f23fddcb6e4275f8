/**
 * The figures of one judged test, and of several: means and standard errors over seeds, intervals where there is one seed.
 * In: scores in [0, 1] with labels. Out: the contract's figures; what the pictures cannot give is null.
 */
import type { Evaluation, ImageFigures } from "@kenpin/schema";
import {
  auroc,
  averagePrecision,
  bestF1,
  bootstrapInterval,
  confusionAt,
  countsByThreshold,
  createRandom,
  deviation,
  exactInterval,
  mean,
  ratesOf,
} from "@kenpin/stats";

export type Scored = { score: number; label: "good" | "bad" };
type Figure = number | null;

const LEVEL = 0.95;
const RESAMPLES = 1000;
/** Of the trade-off's curve. */
const POINTS = 200;

export function imageFigures(scored: readonly Scored[], cut: number): ImageFigures {
  const { scores, labels } = columnsOf(scored);
  const both = new Set(labels).size === 2;
  const rates = ratesOf(confusionAt(scores, labels, cut));
  return {
    auroc: both ? auroc(scores, labels) : null,
    averagePrecision: both ? Math.min(1, averagePrecision(scores, labels)) : null, // a sum may end a rounding above
    f1Max: both ? bestF1(scores, labels).f1 : null,
    accuracy: figure(rates.accuracy),
    escapeRate: figure(rates.escapeRate),
    overkillRate: figure(rates.overkillRate),
  };
}

/** Of each key, over those that have it. */
export function meansOf<K extends string>(rows: readonly Record<K, Figure>[]): Record<K, Figure> {
  return overSeeds(rows, (values) => (values.length === 0 ? null : mean(values)));
}

/** s / √n; null with fewer than two seeds. */
export function standardErrorsOf<K extends string>(rows: readonly Record<K, Figure>[]): Record<K, Figure> {
  return overSeeds(rows, (values) => (values.length < 2 ? null : deviation(values) / Math.sqrt(values.length)));
}

export function imageIntervals(scored: readonly Scored[], cut: number): NonNullable<Evaluation["intervals"]> {
  const { scores, labels } = columnsOf(scored);
  if (new Set(labels).size < 2) return { image: {} };
  const { truePositives, falseNegatives, falsePositives, trueNegatives } = confusionAt(scores, labels, cut);
  const area = (measure: typeof auroc) =>
    bootstrapInterval(
      scored,
      (some) => {
        const columns = columnsOf(some);
        return measure(columns.scores, columns.labels);
      },
      { resamples: RESAMPLES, level: LEVEL, random: createRandom(1), stratify: ({ label }) => label },
    );
  const rate = (count: number, of: number) => exactInterval({ count, of }, LEVEL);
  return {
    image: {
      auroc: area(auroc),
      averagePrecision: area(averagePrecision),
      accuracy: rate(truePositives + trueNegatives, scored.length),
      escapeRate: rate(falseNegatives, truePositives + falseNegatives),
      overkillRate: rate(falsePositives, falsePositives + trueNegatives),
    },
  };
}

/** From the laxest threshold, at which nothing passes, to the strictest, at which nothing fails. */
export function tradeOff(scored: readonly Scored[]): Evaluation["tradeOff"] {
  const { scores, labels } = columnsOf(scored);
  const bad = labels.filter((label) => label === 1).length;
  const good = labels.length - bad;
  if (bad === 0 || good === 0) return [];
  const points = [{ threshold: 1.0001, truePositives: 0, falsePositives: 0 }, ...countsByThreshold(scores, labels)].reverse();
  const every = Math.max(1, (points.length - 1) / (POINTS - 1));
  const places = new Set(Array.from({ length: Math.min(points.length, POINTS) }, (_, i) => Math.round(i * every)));
  return [...places].map((place) => {
    const { threshold, truePositives, falsePositives } = points[Math.min(place, points.length - 1)] as (typeof points)[number];
    return { threshold, escapeRate: 1 - truePositives / bad, overkillRate: falsePositives / good };
  });
}

export function columnsOf(scored: readonly Scored[]): { scores: number[]; labels: (0 | 1)[] } {
  return { scores: scored.map(({ score }) => score), labels: scored.map(({ label }) => (label === "bad" ? 1 : 0)) };
}

function figure(value: number): Figure {
  return Number.isNaN(value) ? null : value;
}

function overSeeds<K extends string>(rows: readonly Record<K, Figure>[], of: (values: number[]) => Figure): Record<K, Figure> {
  const keys = Object.keys(rows[0] ?? {}) as K[];
  return Object.fromEntries(keys.map((key) => [key, of(rows.flatMap((row) => row[key] ?? []))])) as Record<K, Figure>;
}
