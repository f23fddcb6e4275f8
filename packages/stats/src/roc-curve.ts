/**
 * Counts at every threshold that tells cases apart, and the ROC curve from them (scikit-learn's roc_curve without dropping
 * points). In: scores, higher is worse, and labels, 1 = defective. Out: points from the strictest threshold to the laxest;
 * a case is called defective where its score is at or above the threshold. Ties are one point.
 */
export type ThresholdCounts = { threshold: number; truePositives: number; falsePositives: number };
export type RocPoint = { threshold: number; truePositiveRate: number; falsePositiveRate: number };

/** One entry a distinct score, the highest first, counting all cases at or above it. */
export function countsByThreshold(scores: readonly number[], labels: readonly (0 | 1)[]): ThresholdCounts[] {
  if (scores.length !== labels.length) throw new RangeError(`${scores.length} scores but ${labels.length} labels`);
  const order = [...scores.keys()].sort((i, j) => (scores[j] as number) - (scores[i] as number));
  const out: ThresholdCounts[] = [];
  let [truePositives, falsePositives] = [0, 0];
  for (const [place, i] of order.entries()) {
    if (labels[i] === 1) truePositives++;
    else falsePositives++;
    const threshold = scores[i] as number;
    const next = order[place + 1];
    if (next === undefined || scores[next] !== threshold) out.push({ threshold, truePositives, falsePositives });
  }
  return out;
}

/** Begins at (0, 0) with a threshold of Infinity; rates are NaN where a label is missing. */
export function rocCurve(scores: readonly number[], labels: readonly (0 | 1)[]): RocPoint[] {
  const counts = countsByThreshold(scores, labels);
  const { truePositives: bad = 0, falsePositives: good = 0 } = counts.at(-1) ?? {};
  const start = { threshold: Number.POSITIVE_INFINITY, truePositives: 0, falsePositives: 0 };
  return [start, ...counts].map(({ threshold, truePositives, falsePositives }) => ({
    threshold,
    truePositiveRate: truePositives / bad,
    falsePositiveRate: falsePositives / good,
  }));
}
