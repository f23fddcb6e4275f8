/**
 * Percentile bootstrap intervals (Efron and Tibshirani 1993), resampled within strata so that every resample keeps as
 * many good and defective cases as the original.
 */
import { quantile } from "./quantile.ts";
import type { Random } from "./random.ts";

export type Interval = { low: number; high: number };
export type BootstrapOptions<T> = { resamples: number; level: number; random: Random; stratify?: (item: T) => unknown };

/** Interval of `measure` over the items. */
export function bootstrapInterval<T>(items: readonly T[], measure: (items: T[]) => number, options: BootstrapOptions<T>): Interval {
  const draws = resamples(items, options);
  return percentiles(
    draws.map((indices) => measure(indices.map((i) => items[i] as T))),
    options.level,
  );
}

/** Interval of measure(after) − measure(before), both taken on the same resampled cases: after[i] and before[i] are one case. */
export function pairedBootstrapInterval<T>(
  after: readonly T[],
  before: readonly T[],
  measure: (items: T[]) => number,
  options: BootstrapOptions<T>,
): Interval {
  if (after.length !== before.length) throw new RangeError(`paired cases differ in number: ${after.length} and ${before.length}`);
  const differences = resamples(after, options).map(
    (indices) => measure(indices.map((i) => after[i] as T)) - measure(indices.map((i) => before[i] as T)),
  );
  return percentiles(differences, options.level);
}

function resamples<T>(items: readonly T[], { resamples: count, random, stratify }: BootstrapOptions<T>): number[][] {
  const strata = new Map<unknown, number[]>();
  for (const [i, item] of items.entries()) {
    const stratum = stratify?.(item);
    strata.set(stratum, [...(strata.get(stratum) ?? []), i]);
  }
  const groups = [...strata.values()];
  return Array.from({ length: count }, () => groups.flatMap((group) => group.map(() => random.pick(group))));
}

function percentiles(values: number[], level: number): Interval {
  return { low: quantile(values, (1 - level) / 2), high: quantile(values, (1 + level) / 2) };
}
