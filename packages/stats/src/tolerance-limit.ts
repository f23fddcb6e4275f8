/**
 * An upper limit for good scores where there are too few of them for order statistics: the normal tolerance limit on their logits
 * (Natrella 1963, the approximation by the chi-square's and the mean's normal errors). It rests on the logits being normal,
 * which nobody has checked, and so is a stopgap until there are enough samples, and must be called one.
 * In: scores in [0, 1]; `share` of good parts that may lie above, with `confidence`. Out: the limit, in [0, 1], or null below four.
 */
import { deviation, mean } from "./quantile.ts";

const FEWEST = 4;
const NEARLY = 1e-6;

export function normalUpperLimit(scores: readonly number[], { share, confidence }: { share: number; confidence: number }): number | null {
  const n = scores.length;
  if (n < FEWEST) return null;
  const logits = scores.map(logit);
  const [z, sure] = [normalQuantile(1 - share), normalQuantile(confidence)];
  const a = 1 - sure ** 2 / (2 * (n - 1));
  const b = z ** 2 - sure ** 2 / n;
  const factor = (z + Math.sqrt(Math.max(0, z ** 2 - a * b))) / a;
  return 1 / (1 + Math.exp(-(mean(logits) + factor * deviation(logits))));
}

function logit(score: number): number {
  const p = Math.min(1 - NEARLY, Math.max(NEARLY, score));
  return Math.log(p / (1 - p));
}

/** The standard normal's quantile: bisection on its distribution function, which has no closed inverse. */
export function normalQuantile(p: number): number {
  let [low, high] = [-9, 9];
  for (let round = 0; round < 80; round++) {
    const middle = (low + high) / 2;
    if (normalBelow(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(Z ≤ x): the series around 0, which for |x| ≤ 9 settles in double precision well enough for limits (1e-12). */
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
