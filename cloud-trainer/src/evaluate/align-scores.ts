/**
 * A student sees nearly what its teacher sees, but its scores lie a little elsewhere on the scale: the teacher's cut would then
 * cut somewhere else. In: both models' scores of the same frames. Out: how the student's logit is to be stretched and shifted,
 * by least squares, so that the same cut means the same.
 */
const NEARLY = 1e-4;
/** Further apart than this they are no two views of one thing, and the gate says so. */
const SCALES = { least: 0.25, most: 4 };

export function alignScores(teacher: readonly number[], student: readonly number[]): { scale: number; shift: number } {
  const [told, seen] = [teacher.map(logit), student.map(logit)];
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [toldMean, seenMean] = [mean(told), mean(seen)];
  const covariance = mean(seen.map((value, i) => (value - seenMean) * ((told[i] as number) - toldMean)));
  const variance = mean(seen.map((value) => (value - seenMean) ** 2));
  const slope = variance > 0 ? covariance / variance : 1;
  const scale = Math.min(SCALES.most, Math.max(SCALES.least, slope));
  return { scale, shift: toldMean - scale * seenMean };
}

function logit(probability: number): number {
  const p = Math.min(1 - NEARLY, Math.max(NEARLY, probability));
  return Math.log(p / (1 - p));
}
