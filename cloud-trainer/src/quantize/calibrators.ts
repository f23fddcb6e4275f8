/**
 * Five rules for the range that an activation's 256 codes cover, from values seen in calibration. A wide range makes every
 * step coarse, a narrow one cuts the largest values off.
 *
 * - min-max: all that was seen
 * - wide: that and 30 % more, for smoothed places: any one of many equally large channels may surpass what it showed
 * - percentile: all but the most extreme 0.01 % on either side
 * - entropy: the threshold whose clipped and requantized distribution loses least information (KL divergence, as TensorRT's
 *   8-bit inference has it: S. Migacz, GTC 2017)
 * - mse: the share of the range with the smallest mean square of the rounding and clipping error, each channel weighed by
 *   how strongly the products read it
 */
export const CALIBRATORS = ["min-max", "wide", "percentile", "entropy", "mse"] as const;
export type Calibrator = (typeof CALIBRATORS)[number];

export type Observed = {
  /** Smallest and largest of all values, whether or not they are among `values`. */
  min: number;
  max: number;
  values: Float32Array;
  /** By channel, the values' last axis; none: all alike. */
  importance?: Float32Array | null;
};
export type Range = { low: number; high: number };
export type Step = { scale: number; zero: number };

const HEADROOM = 1.3;
const TAIL = 0.0001;
const ENTROPY_BINS = 2048;
const ENTROPY_LEVELS = 128;
const ENTROPY_STRIDE = 16;
/** Shares of the full range that the search for the smallest error tries. */
const SHARES = Array.from({ length: 36 }, (_, i) => 1 - i * 0.025);
/** More values say no more about a mean square. */
const ERROR_SAMPLE = 40_000;

export function rangeOf(observed: Observed, calibrator: Calibrator, signed: boolean): Range {
  if (calibrator === "wide") return { low: observed.min * HEADROOM, high: observed.max * HEADROOM };
  if (calibrator === "percentile") return percentileRange(observed);
  if (calibrator === "entropy") return entropyRange(observed);
  if (calibrator === "mse") return smallestErrorRange(observed, signed);
  return { low: observed.min, high: observed.max };
}

/** Signed codes −127…127 around 0, or unsigned 0…255 whose zero point is a code, so that 0 stays exactly 0. */
export function stepOf({ low, high }: Range, signed: boolean): Step {
  if (signed) return { scale: Math.max(Math.abs(low), Math.abs(high), 1e-12) / 127, zero: 0 };
  const [from, to] = [Math.min(low, 0), Math.max(high, 0)];
  const scale = Math.max(to - from, 1e-12) / 255;
  return { scale, zero: Math.min(255, Math.max(0, Math.round(-from / scale))) };
}

/** Mean square of value − scale · (code − zero). */
export function roundingError(
  values: Float32Array,
  { scale, zero }: Step,
  signed: boolean,
  importance: Float32Array | null = null,
): number {
  const [least, most] = signed ? [-127, 127] : [-zero, 255 - zero];
  const channels = importance?.length ?? 1;
  // Odd, so that every channel comes up.
  const stride = Math.max(1, Math.floor(values.length / ERROR_SAMPLE)) | 1;
  let [sum, count] = [0, 0];
  for (let i = 0; i < values.length; i += stride) {
    const value = values[i] as number;
    const code = Math.min(most, Math.max(least, Math.round(value / scale)));
    sum += (value - code * scale) ** 2 * (importance ? (importance[i % channels] as number) : 1);
    count++;
  }
  return sum / Math.max(1, count);
}

function percentileRange({ values }: Observed): Range {
  const sorted = values.slice().sort();
  const cut = Math.floor(sorted.length * TAIL);
  return { low: sorted[cut] as number, high: sorted[sorted.length - 1 - cut] as number };
}

function smallestErrorRange({ min, max, values, importance = null }: Observed, signed: boolean): Range {
  let best = { low: min, high: max, error: Number.POSITIVE_INFINITY };
  for (const share of SHARES) {
    const range = { low: min * share, high: max * share };
    const error = roundingError(values, stepOf(range, signed), signed, importance);
    if (error < best.error) best = { ...range, error };
  }
  return { low: best.low, high: best.high };
}

function entropyRange({ min, max, values }: Observed): Range {
  const top = Math.max(Math.abs(min), Math.abs(max), 1e-12);
  const counts = new Float64Array(ENTROPY_BINS);
  for (const value of values) {
    const bin = Math.min(ENTROPY_BINS - 1, Math.floor((Math.abs(value) / top) * ENTROPY_BINS));
    counts[bin] = (counts[bin] as number) + 1;
  }
  let best = { bins: ENTROPY_BINS, loss: Number.POSITIVE_INFINITY };
  for (let bins = ENTROPY_LEVELS; bins <= ENTROPY_BINS; bins += ENTROPY_STRIDE) {
    const loss = divergence(counts, bins);
    if (loss < best.loss) best = { bins, loss };
  }
  const threshold = (best.bins / ENTROPY_BINS) * top;
  return { low: Math.max(min, -threshold), high: Math.min(max, threshold) };
}

/** KL(P‖Q): P has all beyond the threshold in its last bin, Q is P's inside on `ENTROPY_LEVELS` levels, spread over filled bins. */
function divergence(counts: Float64Array, bins: number): number {
  const inside = counts.subarray(0, bins);
  const beyond = counts.subarray(bins).reduce((sum, count) => sum + count, 0);
  const total = inside.reduce((sum, count) => sum + count, 0);
  if (total === 0) return Number.POSITIVE_INFINITY;
  let loss = 0;
  for (let level = 0; level < ENTROPY_LEVELS; level++) {
    const [from, to] = [Math.floor((level * bins) / ENTROPY_LEVELS), Math.floor(((level + 1) * bins) / ENTROPY_LEVELS)];
    let [sum, filled] = [0, 0];
    for (let bin = from; bin < to; bin++) {
      sum += inside[bin] as number;
      if ((inside[bin] as number) > 0 || (bin === bins - 1 && beyond > 0)) filled++;
    }
    for (let bin = from; bin < to; bin++) {
      const p = ((inside[bin] as number) + (bin === bins - 1 ? beyond : 0)) / (total + beyond);
      if (p === 0) continue;
      // A bin that holds only what was cut off has no mass inside: the loss is large, not infinite.
      const q = Math.max(sum / filled / total, 1e-12);
      loss += p * Math.log(p / q);
    }
  }
  return loss;
}
