/**
 * Intervals over a few seeds. In: one number a seed. Out: mean and the 95 % interval of Student's t, which three seeds make wide: what lies
 * outside of it is worth saying, what lies inside is not told by this study. Differences are taken seed by seed: same weights to begin
 * with, same pictures.
 */
import { deviation, mean } from "@kenpin/stats";

export type Estimate = { mean: number; low: number; high: number; seeds: number };

/** 97.5 % points of Student's t for 1, 2, … degrees of freedom. */
const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

export function estimate(values: readonly number[]): Estimate | null {
  if (values.length === 0) return null;
  const [middle, seeds] = [mean(values), values.length];
  const half = seeds === 1 ? Number.POSITIVE_INFINITY : ((T[seeds - 2] ?? 1.96) * deviation(values)) / Math.sqrt(seeds);
  return { mean: middle, low: middle - half, high: middle + half, seeds };
}

/** Of the seeds that both have. */
export function difference(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>): Estimate | null {
  const shared = [...a].flatMap(([seed, value]) => (b.has(seed) ? [value - (b.get(seed) as number)] : []));
  return estimate(shared);
}

export type Answer = "holds" | "does not hold" | "cannot be told";

/** "At least as good", with a loss of less than `margin` counting as none. */
export function atLeast({ low, high }: Estimate, margin: number): Answer {
  if (low > -margin) return "holds";
  return high < -margin ? "does not hold" : "cannot be told";
}
