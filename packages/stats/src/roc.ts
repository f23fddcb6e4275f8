/**
 * Area under the ROC curve as the Mann-Whitney statistic: the chance that a defective case scores above a good one,
 * ties counting half (Hanley and McNeil 1982). In: scores, higher is worse, and labels, 1 = defective. Out: [0, 1].
 */
export function auroc(scores: readonly number[], labels: readonly (0 | 1)[]): number {
  const order = scores.map((score, i) => ({ score, label: labels[i] as 0 | 1 })).sort((a, b) => a.score - b.score);
  const positives = labels.reduce<number>((sum, label) => sum + label, 0);
  const negatives = labels.length - positives;
  if (positives === 0 || negatives === 0) return Number.NaN;
  let rankSum = 0;
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && order[end]?.score === order[start]?.score) end++;
    const meanRank = (start + 1 + end) / 2;
    for (let i = start; i < end; i++) rankSum += order[i]?.label === 1 ? meanRank : 0;
    start = end;
  }
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}
