/**
 * The learning rate over a run: a straight warm-up, then half a cosine down to a floor (Loshchilov and Hutter 2016,
 * arXiv 1608.03983), as the released recipe has it.
 * In: the step from 0, and the run's length in steps. Out: the rate of that step.
 */

type Schedule = { peak: number; warmup: number; steps: number /** Share of the peak at the end. */; floor?: number };

export function cosineRate(step: number, { peak, warmup, steps, floor = 0.02 }: Schedule): number {
  if (step < warmup) return (peak * (step + 1)) / warmup;
  const t = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  return peak * (floor + ((1 - floor) * (1 + Math.cos(Math.PI * t))) / 2);
}
