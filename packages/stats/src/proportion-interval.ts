/**
 * Intervals of a rate counted on few cases, and of the difference of two rates. In: counts and a level such as 0.95. Out: low
 * and high. The exact interval (Clopper and Pearson 1934) never covers less than its level. The difference joins both rates'
 * limits by squares (Newcombe 1998, method 10), but these exact ones in place of Wilson's, which at the levels that many comparisons
 * ask for are too narrow where counts are small.
 */
import type { Interval } from "./bootstrap.ts";

export type Count = { of: number; count: number };

/** No case says nothing: [0, 1]. */
export function exactInterval({ count, of }: Count, level: number): Interval {
  const tail = (1 - level) / 2;
  return {
    low: count === 0 ? 0 : solve((p) => atLeast(count, of, p) - tail),
    high: count === of ? 1 : solve((p) => tail - atMost(count, of, p)),
  };
}

/** Of the first rate minus the second. */
export function differenceInterval(a: Count, b: Count, level: number): Interval {
  const [p, q] = [rate(a), rate(b)];
  const [x, y] = [exactInterval(a, level), exactInterval(b, level)];
  return { low: p - q - Math.hypot(p - x.low, y.high - q), high: p - q + Math.hypot(x.high - p, q - y.low) };
}

function rate({ count, of }: Count): number {
  return of === 0 ? 0.5 : count / of;
}

/** Where a function that rises with p crosses 0 in (0, 1), to the last bit. */
function solve(f: (p: number) => number): number {
  let [low, high] = [0, 1];
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return middle;
    if (f(middle) < 0) low = middle;
    else high = middle;
  }
}

/** The chance of at most this many of n, each with chance p: from the likeliest term counted down by its neighbours' ratio. */
function atMost(count: number, n: number, p: number): number {
  let logTerm = count * Math.log(p) + (n - count) * Math.log1p(-p);
  for (let k = 1; k <= Math.min(count, n - count); k++) logTerm += Math.log((n - k + 1) / k);
  let [term, sum] = [1, 1];
  for (let k = count; k > 0 && term > 0; k--) {
    term *= (k / (n - k + 1)) * ((1 - p) / p);
    sum += term;
  }
  return Math.exp(logTerm + Math.log(sum));
}

function atLeast(count: number, n: number, p: number): number {
  return atMost(n - count, n, 1 - p);
}
