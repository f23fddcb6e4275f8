/**
 * What precision and recall say over all thresholds, as scikit-learn has it. In: scores, higher is worse, and labels,
 * 1 = defective. Out: average precision (the step-wise sum Σ (Rₙ − Rₙ₋₁) Pₙ, no interpolation), and the largest F1 with the
 * highest threshold that reaches it. NaN without a defective case.
 */
import { countsByThreshold } from "./roc-curve.ts";

export function averagePrecision(scores: readonly number[], labels: readonly (0 | 1)[]): number {
  const bad = labels.filter((label) => label === 1).length;
  if (bad === 0) return Number.NaN;
  let [sum, recalled] = [0, 0];
  for (const { truePositives, falsePositives } of countsByThreshold(scores, labels)) {
    sum += ((truePositives - recalled) / bad) * (truePositives / (truePositives + falsePositives));
    recalled = truePositives;
  }
  return sum;
}

export function bestF1(scores: readonly number[], labels: readonly (0 | 1)[]): { f1: number; threshold: number } {
  const bad = labels.filter((label) => label === 1).length;
  if (bad === 0) return { f1: Number.NaN, threshold: Number.NaN };
  let best = { f1: 0, threshold: Number.POSITIVE_INFINITY };
  for (const { threshold, truePositives, falsePositives } of countsByThreshold(scores, labels)) {
    const f1 = (2 * truePositives) / (bad + truePositives + falsePositives);
    if (f1 > best.f1) best = { f1, threshold };
  }
  return best;
}
