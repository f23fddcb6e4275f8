/**
 * Whether a score means what it says: of the parts scored 0.8, are eight of ten defective? In: scores in [0, 1] taken as the
 * probability of a defect, and labels, 1 = defective. Out: the expected calibration error Σ n_b / n · |mean score − share
 * defective| over bins (Naeini et al. 2015), and the Brier score.
 * Bins are open below and closed above, as scikit-learn's calibration_curve has them: "even" ones are equally wide, "adaptive"
 * ones end at the scores' quantiles, so that equal scores share a bin and each holds about as many cases.
 */
import { mean, quantile } from "./quantile.ts";

export type Binning = "even" | "adaptive";
const BINS = 10;

export function calibrationError(
  scores: readonly number[],
  labels: readonly (0 | 1)[],
  { bins = BINS, binning = "even" }: { bins?: number; binning?: Binning } = {},
): number {
  const inner = Array.from({ length: bins - 1 }, (_, i) => (binning === "even" ? (i + 1) / bins : quantile(scores, (i + 1) / bins)));
  const members = Array.from({ length: bins }, (): number[] => []);
  for (const [i, score] of scores.entries()) members[inner.filter((edge) => edge < score).length]?.push(i);
  const of = (values: readonly number[], bin: readonly number[]) => mean(bin.map((i) => values[i] as number));
  return (
    members.filter((bin) => bin.length > 0).reduce((sum, bin) => sum + bin.length * Math.abs(of(scores, bin) - of(labels, bin)), 0) /
    scores.length
  );
}

export function brierScore(scores: readonly number[], labels: readonly (0 | 1)[]): number {
  return mean(scores.map((score, i) => (score - (labels[i] as number)) ** 2));
}
