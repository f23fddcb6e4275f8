/**
 * The power spectrum of a square picture whose side is a power of two: rows, then columns, by Cooley and Tukey's fast
 * Fourier transform (1965). In: real values [side²]. Out: |F|² [side²], frequency 0 first.
 */
export function fourierPower(values: Float64Array, side: number): Float64Array {
  if (side < 2 || (side & (side - 1)) !== 0 || values.length !== side * side) {
    throw new RangeError(`expected a square whose side is a power of two, got side ${side} and ${values.length} values`);
  }
  const turns = turnsOf(side);
  let [re, im]: [Float64Array, Float64Array] = [Float64Array.from(values), new Float64Array(values.length)];
  for (let line = 0; line < side; line++) transform(re, im, line * side, turns);
  // Columns become rows: neighbours in memory are many times faster than steps of a whole row.
  [re, im] = [transposed(re, side), transposed(im, side)];
  for (let line = 0; line < side; line++) transform(re, im, line * side, turns);
  return transposed(
    re.map((value, i) => value * value + (im[i] as number) ** 2),
    side,
  );
}

type Turns = { cos: Float64Array; sin: Float64Array };
let lastTurns: Turns = { cos: new Float64Array(0), sin: new Float64Array(0) };

/** exp(−2πi · k / side) for half a turn. */
function turnsOf(side: number): Turns {
  if (lastTurns.cos.length === side / 2) return lastTurns;
  const angles = Float64Array.from({ length: side / 2 }, (_, k) => (-2 * Math.PI * k) / side);
  lastTurns = { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
  return lastTurns;
}

function transposed(values: Float64Array, side: number): Float64Array {
  const out = new Float64Array(values.length);
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++) out[column * side + row] = values[row * side + column] as number;
  return out;
}

/** In place over one line that begins at `start`. */
function transform(re: Float64Array, im: Float64Array, start: number, { cos, sin }: Turns): void {
  const count = 2 * cos.length;
  for (let i = 1, j = 0; i < count; i++) {
    let bit = count >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      swap(re, start + i, start + j);
      swap(im, start + i, start + j);
    }
  }
  for (let size = 2; size <= count; size *= 2) {
    const [half, step] = [size / 2, count / size];
    for (let from = start; from < start + count; from += size) {
      for (let k = 0; k < half; k++) {
        const [a, b] = [from + k, from + k + half];
        const [c, s] = [cos[k * step] as number, sin[k * step] as number];
        const [x, y] = [re[b] as number, im[b] as number];
        const [turnedRe, turnedIm] = [x * c - y * s, x * s + y * c];
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
