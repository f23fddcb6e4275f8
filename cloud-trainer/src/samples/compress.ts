/**
 * What a camera's JPEG leaves of a picture: each 8 × 8 block's cosine transform rounded in steps, brightness finer than colour (ITU-T T.81,
 * annex K's tables of steps in spirit: coarser with frequency). In: planes in [0, 1] and how coarse the steps are. Blocks that a side
 * cuts off stay as they are.
 */
import type { Planes } from "./defect.ts";
import type { Field } from "./field.ts";

const BLOCK = 8;
const COSINES = Float64Array.from({ length: BLOCK * BLOCK }, (_, at) => {
  const [k, n] = [Math.floor(at / BLOCK), at % BLOCK];
  return Math.sqrt((k === 0 ? 1 : 2) / BLOCK) * Math.cos((Math.PI * (2 * n + 1) * k) / (2 * BLOCK));
});

export function compress({ side, rgb: [r, g, b] }: Planes, coarseness: number): Planes {
  const y = r.map((value, i) => 0.299 * value + 0.587 * (g[i] as number) + 0.114 * (b[i] as number));
  const blue = b.map((value, i) => value - (y[i] as number));
  const red = r.map((value, i) => value - (y[i] as number));
  const [luma, cb, cr] = [rounded(y, side, coarseness, 1), rounded(blue, side, coarseness, 2), rounded(red, side, coarseness, 2)];
  const clamp = (value: number) => Math.min(1, Math.max(0, value));
  const out = (chroma: Field) => luma.map((value, i) => clamp(value + (chroma[i] as number)));
  const green = luma.map((value, i) => clamp(value - (0.299 * (cr[i] as number) + 0.114 * (cb[i] as number)) / 0.587));
  return { side, rgb: [out(cr), green, out(cb)] };
}

function rounded(plane: Field, side: number, coarseness: number, factor: number): Field {
  const out = Float32Array.from(plane);
  const block = new Float64Array(BLOCK * BLOCK);
  for (let top = 0; top + BLOCK <= side; top += BLOCK) {
    for (let left = 0; left + BLOCK <= side; left += BLOCK) {
      for (let i = 0; i < block.length; i++) block[i] = plane[(top + (i >> 3)) * side + left + (i & 7)] as number;
      const spectrum = transformed(transformed(block, false), false);
      for (let i = 0; i < block.length; i++) {
        const size = (coarseness * factor * (10 + 8 * ((i >> 3) + (i & 7)))) / 255;
        spectrum[i] = Math.round((spectrum[i] as number) / size) * size;
      }
      const back = transformed(transformed(spectrum, true), true);
      for (let i = 0; i < block.length; i++) out[(top + (i >> 3)) * side + left + (i & 7)] = back[i] as number;
    }
  }
  return out;
}

/** Along rows, written transposed, so that two calls transform both ways. */
function transformed(block: Float64Array, inverse: boolean): Float64Array {
  const out = new Float64Array(BLOCK * BLOCK);
  for (let row = 0; row < BLOCK; row++) {
    for (let k = 0; k < BLOCK; k++) {
      let sum = 0;
      for (let n = 0; n < BLOCK; n++) {
        sum += (block[row * BLOCK + n] as number) * (COSINES[inverse ? n * BLOCK + k : k * BLOCK + n] as number);
      }
      out[k * BLOCK + row] = sum;
    }
  }
  return out;
}
