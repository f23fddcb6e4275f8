/**
 * What one threshold does to a line. In: scores, labels (1 = defective), and the cut; a part fails where its score is at or
 * above it. Out: counts, and rates as a line counts them: an escape is a defective part that passes, an overkill a good part
 * that fails. A rate is NaN where there is no part of that label.
 */
export type Confusion = { truePositives: number; falseNegatives: number; falsePositives: number; trueNegatives: number };
export type Rates = { accuracy: number; escapeRate: number; overkillRate: number };

export function confusionAt(scores: readonly number[], labels: readonly (0 | 1)[], cut: number): Confusion {
  const counts = { truePositives: 0, falseNegatives: 0, falsePositives: 0, trueNegatives: 0 };
  for (const [i, score] of scores.entries()) {
    if (labels[i] === 1) counts[score >= cut ? "truePositives" : "falseNegatives"]++;
    else counts[score >= cut ? "falsePositives" : "trueNegatives"]++;
  }
  return counts;
}

export function ratesOf({ truePositives, falseNegatives, falsePositives, trueNegatives }: Confusion): Rates {
  const [bad, good] = [truePositives + falseNegatives, falsePositives + trueNegatives];
  return {
    accuracy: (truePositives + trueNegatives) / (bad + good),
    escapeRate: falseNegatives / bad,
    overkillRate: falsePositives / good,
  };
}
