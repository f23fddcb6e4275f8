/**
 * Split conformal prediction by label (Mondrian; Vovk, Gammerman and Shafer 2005): cuts on a score, higher is worse, that hold in
 * finite samples, whatever the model and however its scores are spread, as long as parts to come are drawn as the calibration
 * samples were.
 *
 *   bad parts    a score below the cut is no longer taken for bad: at most a share `alpha` of bad parts lies there
 *   good parts   a score above the cut is no longer taken for good: at most `alpha` of good parts lies there
 *
 * `confidence` null promises this on average over all calibrations: of n scores the k-th strangest is the cut, k = ⌊alpha · (n + 1)⌋,
 * which leaves out between alpha − 1 / (n + 1) and alpha. With a confidence it is promised of this very calibration: the share left
 * out by the k-th strangest of n is Beta(k, n + 1 − k) (Wilks 1941), so k is the largest with P(Binomial(n, alpha) < k) ≤
 * 1 − confidence. Ties count against the promise.
 */
export type CalibratedLabel = "good" | "bad";
export type CutOptions = { label: CalibratedLabel; alpha: number; confidence: number | null };
/** `cut` is null where no promise can be given; `missing` says how many more samples of this label would allow one. */
export type ConformalCut = { cut: number | null; samples: number; missing: number };

/** A tiny share, so that 0.1 · 10 counts as 1. */
const ROUNDING = 1e-9;

export function conformalCut(scores: readonly number[], { label, alpha, confidence }: CutOptions): ConformalCut {
  const n = scores.length;
  const k = confidence === null ? Math.floor(alpha * (n + 1) + ROUNDING) : sureRank(n, alpha, 1 - confidence);
  const missing = Math.max(0, samplesNeeded(alpha, confidence) - n);
  if (k < 1) return { cut: null, samples: n, missing };
  const strangestFirst = [...scores].sort((a, b) => (label === "bad" ? a - b : b - a));
  return { cut: strangestFirst[k - 1] as number, samples: n, missing };
}

/** Whether a score is still taken for this label: an excluded one lies strictly beyond the cut. */
export function conforms(score: number, label: CalibratedLabel, cut: number | null): boolean {
  if (cut === null) return true;
  return label === "bad" ? score >= cut : score <= cut;
}

/** (1 + how many calibration scores are as strange) / (n + 1): the label is left out where this is alpha or less. */
export function conformalPValue(scores: readonly number[], score: number, label: CalibratedLabel): number {
  const asStrange = scores.filter((one) => (label === "bad" ? one <= score : one >= score)).length;
  return (asStrange + 1) / (scores.length + 1);
}

/** The fewest samples of a label that allow a promise at all. */
export function samplesNeeded(alpha: number, confidence: number | null): number {
  if (confidence === null) return Math.ceil(1 / alpha - ROUNDING) - 1;
  return Math.ceil(Math.log(1 - confidence) / Math.log1p(-alpha) - ROUNDING);
}

/** With how much confidence at most a share `alpha` lies beyond the strangest of n. */
export function confidenceOf(samples: number, alpha: number): number {
  return 1 - (1 - alpha) ** samples;
}

/** The largest k with P(Binomial(n, alpha) < k) ≤ risk; 0 where even the strangest promises too much. */
function sureRank(n: number, alpha: number, risk: number): number {
  let below = 0;
  for (let k = 0; k <= n; k++) {
    below += binomial(n, k, alpha);
    if (below > risk * (1 + ROUNDING)) return k;
  }
  return n;
}

function binomial(n: number, k: number, p: number): number {
  let log = k * Math.log(p) + (n - k) * Math.log1p(-p);
  for (let i = 1; i <= Math.min(k, n - k); i++) log += Math.log((n - i + 1) / i);
  return Math.exp(log);
}
