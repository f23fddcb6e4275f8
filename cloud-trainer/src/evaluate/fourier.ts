/**
 * The power spectrum of a square picture whose side is a power of two: rows, then columns, by Cooley and Tukey's fast
 * Fourier transform (1965). In: real values [side²]. Out: |F|² [side²], frequency 0 first.
 */
export function fourierPower(values: Float64Array, side: number): Float64Array {
  if (side < 2 || (side & (side - 1)) !== 0 || values.length !== side * side) {
    throw new RangeError(`expected a square whose side is a power of two, got side ${side} and ${values.length} values`);
  }
  const re = Float64Array.from(values);
  const im = new Float64Array(values.length);
  for (let line = 0; line < side; line++) transform(re, im, line * side, 1, side);
  for (let line = 0; line < side; line++) transform(re, im, line, side, side);
  return re.map((value, i) => value * value + (im[i] as number) ** 2);
}

/** In place over `count` values that lie `stride` apart from `start` on. */
function transform(re: Float64Array, im: Float64Array, start: number, stride: number, count: number): void {
  for (let i = 1, j = 0; i < count; i++) {
    let bit = count >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      swap(re, start + i * stride, start + j * stride);
      swap(im, start + i * stride, start + j * stride);
    }
  }
  for (let size = 2; size <= count; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const angle = (-2 * Math.PI * k) / size;
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let from = k; from < count; from += size) {
        const [a, b] = [start + from * stride, start + (from + size / 2) * stride];
        const [x, y] = [re[b] as number, im[b] as number];
        const [turnedRe, turnedIm] = [x * cos - y * sin, x * sin + y * cos];
        re[b] = (re[a] as number) - turnedRe;
        im[b] = (im[a] as number) - turnedIm;
        re[a] = (re[a] as number) + turnedRe;
        im[a] = (im[a] as number) + turnedIm;
      }
    }
  }
}

function swap(values: Float64Array, a: number, b: number): void {
  const kept = values[a] as number;
  values[a] = values[b] as number;
  values[b] = kept;
}
