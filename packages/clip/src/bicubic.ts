/**
 * Bicubic interpolation with antialias as Pillow and PyTorch do it: Keys' kernel with a = −1/2 (Keys 1981), widened by the
 * scale when shrinking, weights normalised at the border. In: sizes of one axis. Out: for each new place where its window
 * starts and the weights over it. Sources: Pillow's Resample.c (precompute_coeffs), PyTorch's UpSampleKernel.
 */
export type Window = { start: number; weights: Float64Array };

const A = -0.5;
const SUPPORT = 2;

/** The windows of the new places `first` to `first + count`, all of them by default. */
export function bicubicWindows(from: number, to: number, first = 0, count = to): Window[] {
  const scale = from / to;
  const widened = Math.max(scale, 1);
  const reach = SUPPORT * widened;
  const narrowed = 1 / widened; // multiplied, not divided by, as the references do: the last bit counts
  return Array.from({ length: count }, (_, i) => {
    const centre = (first + i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const weights = Float64Array.from({ length: end - start }, (_, j) => keys((j + start - centre + 0.5) * narrowed));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { start, weights: sum === 0 ? weights : weights.map((weight) => weight / sum) };
  });
}

function keys(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * A;
  return 0;
}
