/**
 * Whether two sets of rows come from one distribution: the kernel two-sample test (maximum mean discrepancy, Gretton et al. 2012)
 * with an RBF kernel whose width is the median distance, and a permutation test for its p-value.
 * In: rows of numbers, each figure on a scale of its own, and the least spread of each that would matter. Out: MMD² and p.
 * Rows that follow each other are alike, so whole blocks of them are permuted, not rows; what is permuted is the kernel's sums by
 * block, which makes ten thousands of permutations cheap. They end early once p cannot become small (Besag and Clifford 1991), which
 * keeps p valid. Scales and width come from both sets together: nothing that a permutation would change. Pure.
 */
import { quantile } from "./quantile.ts";
import type { Random } from "./random.ts";

export type TwoSampleOptions = {
  /** Rows in a row that are taken to be alike; whole blocks alone are used. */
  block: number;
  /** The smallest p that must be told from a larger one. */
  alpha: number;
  /** A figure's spread, at least: differences far below it say nothing. */
  leastSpread: readonly number[];
  random: Random;
};
export type TwoSample = { mmd2: number; p: number };
type Rows = readonly (readonly number[])[];

/** Permutations as good as the observed one after which p is known well enough. */
const ENOUGH = 20;
/** Of the most permutations, these may be as good where p is just alpha: p is known to a third of itself. */
const AT_ALPHA = 8;
/** Median absolute deviation → standard deviation, for a normal distribution. */
const MAD_SCALE = 1.4826;
/** Squared, in spreads: where nothing varies at all, a kernel narrower than what matters would magnify rounding. */
const LEAST_SQUARE = 1;
/** Distances of this many rows say what the median distance is. */
const MEDIAN_OF = 128;

export function kernelTwoSample(reference: Rows, window: Rows, { block, alpha, leastSpread, random }: TwoSampleOptions): TwoSample {
  const blocks = (rows: Rows) => Math.floor(rows.length / block);
  const [m, n] = [blocks(reference), blocks(window)];
  if (m < 2 || n < 2) return { mmd2: 0, p: 1 };
  const rows = standardised([...reference.slice(0, m * block), ...window.slice(0, n * block)], leastSpread);
  const sums = blockSums(rows, block);
  const observed = mmdOf(sums, m, block);
  const most = Math.ceil(AT_ALPHA / alpha) - 1;
  let asGood = 0;
  let tried = 0;
  const order = Uint32Array.from({ length: m + n }, (_, i) => i);
  while (tried < most && asGood < ENOUGH) {
    drawFirst(order, n, random);
    tried++;
    if (discrepancy(sums, order.subarray(0, n), block) >= observed - 1e-12) asGood++;
  }
  return { mmd2: observed, p: asGood >= ENOUGH ? asGood / tried : (asGood + 1) / (tried + 1) };
}

type Sums = { count: number; kernel: Float64Array; ofBlock: Float64Array; total: number };

/** The kernel summed over the rows of each pair of blocks. */
function blockSums(rows: Rows, block: number): Sums {
  const count = rows.length / block;
  const kernel = new Float64Array(count * count);
  const scale = -1 / (2 * medianSquare(rows));
  for (let i = 0; i < rows.length; i++) {
    const row = Math.floor(i / block) * count;
    for (let j = i; j < rows.length; j++) {
      const value = Math.exp(scale * squareBetween(rows[i] as readonly number[], rows[j] as readonly number[]));
      const column = Math.floor(j / block);
      kernel[row + column] = (kernel[row + column] as number) + value;
      if (j === i) continue;
      const mirrored = column * count + row / count;
      kernel[mirrored] = (kernel[mirrored] as number) + value;
    }
  }
  const ofBlock = Float64Array.from({ length: count }, (_, i) => kernel.subarray(i * count, (i + 1) * count).reduce((a, b) => a + b, 0));
  return { count, kernel, ofBlock, total: ofBlock.reduce((a, b) => a + b, 0) };
}

function mmdOf(sums: Sums, m: number, block: number): number {
  const window = Uint32Array.from({ length: sums.count - m }, (_, i) => m + i);
  return discrepancy(sums, window, block);
}

/** MMD² with the blocks of `chosen` as one set and all others as the other: mean(YY) + mean(XX) − 2 · mean(XY). */
function discrepancy({ count, kernel, ofBlock, total }: Sums, chosen: Uint32Array, block: number): number {
  let [inside, touching] = [0, 0];
  for (const i of chosen) {
    touching += ofBlock[i] as number;
    for (const j of chosen) inside += kernel[i * count + j] as number;
  }
  const [y, x] = [chosen.length * block, (count - chosen.length) * block];
  const outside = total - 2 * touching + inside;
  return inside / (y * y) + outside / (x * x) - (2 * (touching - inside)) / (x * y);
}

/** Draws `n` of them without replacement to the front (Fisher and Yates). */
function drawFirst(order: Uint32Array, n: number, random: Random): void {
  for (let i = 0; i < n; i++) {
    const j = i + random.int(order.length - i);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
}

/** Median and deviation of each figure to 0 and 1; a figure that hardly varies keeps its own, so that rounding is no drift. */
function standardised(rows: Rows, leastSpread: readonly number[]): Rows {
  const scales = leastSpread.map((least, figure) => {
    const values = rows.map((row) => row[figure] as number);
    const middle = quantile(values, 0.5);
    const away = values.map((value) => Math.abs(value - middle));
    return { middle, spread: Math.max(least, MAD_SCALE * quantile(away, 0.5)) };
  });
  return rows.map((row) => scales.map(({ middle, spread }, figure) => ((row[figure] as number) - middle) / spread));
}

/** Of rows spread evenly over both sets by what they are, not by where they stand. */
function medianSquare(rows: Rows): number {
  const step = Math.max(1, Math.floor(rows.length / MEDIAN_OF));
  const sum = (row: readonly number[]) => row.reduce((a, b) => a + b, 0);
  const some = rows.toSorted((a, b) => sum(a) - sum(b)).filter((_, i) => i % step === 0);
  const squares = some.flatMap((a, i) => some.slice(i + 1).map((b) => squareBetween(a, b)));
  return Math.max(quantile(squares, 0.5), LEAST_SQUARE);
}

function squareBetween(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] as number) - (b[i] as number)) ** 2;
  return sum;
}
