/**
 * An upper limit for good scores where there are too few of them for order statistics: the normal tolerance limit on their logits,
 * mean + k · deviation, where √n · k is the `confidence` quantile of Student's noncentral t with n − 1 degrees and noncentrality
 * √n · z (Owen 1968). It rests on the logits being normal, which nobody has checked, and so is a stopgap until there are enough
 * samples, and must be called one.
 * In: scores in [0, 1]; `share` of good parts that may lie above, with `confidence`. Out: the limit, in [0, 1], or null below two.
 */
import { deviation, mean } from "./quantile.ts";

export type LimitOptions = { share: number; confidence: number };

const FEWEST = 2;
const NEARLY = 1e-6;
/** Scores this alike, in logits, have no deviation but rounding's. */
const ALIKE = 1e-9;
/** Of Simpson's rule; even. */
const STEPS = 2000;

export function normalUpperLimit(scores: readonly number[], options: LimitOptions): number | null {
  if (scores.length < FEWEST) return null;
  const logits = scores.map(logit);
  const spread = deviation(logits);
  if (spread < ALIKE) return Math.max(...scores);
  return 1 / (1 + Math.exp(-(mean(logits) + toleranceFactor(scores.length, options) * spread)));
}

/** k of a one-sided normal tolerance limit, to five digits at least: bisection on P(mean + k · deviation ≥ the distribution's quantile). */
export function toleranceFactor(n: number, { share, confidence }: LimitOptions): number {
  const z = normalQuantile(1 - share);
  const weights = deviationWeights(n - 1);
  // P(Z ≤ √n · (k · s − z)), weighed by how likely a sample's deviation s is
  const keeps = (k: number) => weights.reduce((sum, { s, weight }) => sum + weight * normalBelow(Math.sqrt(n) * (k * s - z)), 0);
  let [low, high] = [-1, 1];
  while (keeps(high) < confidence) [low, high] = [high, 4 * high];
  while (high - low > 1e-10 * Math.abs(high)) {
    const middle = (low + high) / 2;
    if (keeps(middle) < confidence) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/**
 * Where s² · degrees is chi-square distributed: points s over all that is likely, and the density's weights by Simpson's rule. Taken
 * over √s, which sets the points closer near 0, where a small sample's factor decides.
 */
function deviationWeights(degrees: number): { s: number; weight: number }[] {
  const reach = 9 / Math.sqrt(2 * degrees);
  const from = Math.sqrt(Math.max(0, 1 - reach));
  const step = (Math.sqrt(1 + Math.max(reach, 8 / Math.sqrt(degrees))) - from) / STEPS;
  const points = Array.from({ length: STEPS + 1 }, (_, i) => {
    const root = from + i * step;
    const s = root * root;
    const density = s === 0 ? 0 : Math.exp((degrees - 1) * Math.log(s) + (degrees * (1 - s * s)) / 2) * root;
    return { s, weight: density * (i === 0 || i === STEPS ? 1 : 2 + 2 * (i % 2)) };
  });
  const total = points.reduce((sum, { weight }) => sum + weight, 0);
  return points.map(({ s, weight }) => ({ s, weight: weight / total }));
}

function logit(score: number): number {
  const p = Math.min(1 - NEARLY, Math.max(NEARLY, score));
  return Math.log(p / (1 - p));
}

/** The standard normal's quantile: bisection on its distribution function, which has no closed inverse. */
function normalQuantile(p: number): number {
  let [low, high] = [-9, 9];
  for (let round = 0; round < 80; round++) {
    const middle = (low + high) / 2;
    if (normalBelow(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(Z ≤ x): the series around 0, which for |x| ≤ 6 settles in double precision well enough for limits (1e-12). */
function normalBelow(x: number): number {
  if (Math.abs(x) > 6) return x > 0 ? 1 - tail(x) : tail(-x);
  let [term, sum] = [x, x];
  for (let k = 1; Math.abs(term) > 1e-18 * Math.abs(sum) && k < 400; k++) {
    term *= (x * x) / (2 * k + 1);
    sum += term;
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}

function tail(x: number): number {
  return (Math.exp((-x * x) / 2) / (x * Math.sqrt(2 * Math.PI))) * (1 - 1 / (x * x) + 3 / x ** 4);
}
