/**
 * Fits a tower to another input size as timm does (timm/layers/pos_embed.py and patch_embed.py).
 * Positions [1, 1 + g², W]: bicubic with antialias over the grid, the class token's kept. Patch kernels [W, 3, p, p]:
 * FlexiViT's pseudo-inverse resize (arXiv 2212.08013, section 3.4), so that a resized patch gives the same embedding.
 */
import { bicubicWindows } from "./bicubic.ts";

export function resamplePositions(data: Float32Array, width: number, from: number, to: number): Float32Array {
  const windows = bicubicWindows(from, to);
  const rows = new Float64Array(to * from * width); // (to, from, W)
  for (const [y, { start, weights }] of windows.entries()) {
    for (const [j, weight] of weights.entries()) {
      const source = (1 + (start + j) * from) * width;
      const target = y * from * width;
      for (let i = 0; i < from * width; i++) rows[target + i] = (rows[target + i] as number) + weight * (data[source + i] as number);
    }
  }
  const out = new Float64Array((1 + to * to) * width);
  for (let i = 0; i < width; i++) out[i] = data[i] as number;
  for (let y = 0; y < to; y++) {
    for (const [x, { start, weights }] of windows.entries()) {
      const target = (1 + y * to + x) * width;
      for (const [j, weight] of weights.entries()) {
        const source = (y * from + start + j) * width;
        for (let i = 0; i < width; i++) out[target + i] = (out[target + i] as number) + weight * (rows[source + i] as number);
      }
    }
  }
  return Float32Array.from(out);
}

/** Each kernel K becomes P·K·Pᵀ, where P = pinv(Rᵀ) and R resizes one axis; the resize of two axes is R ⊗ R. */
export function resamplePatches(data: Float32Array, from: number, to: number): Float32Array {
  const P = pseudoInverseOfTransposed(resizeMatrix(from, to)); // (to, from)
  const kernels = data.length / (from * from);
  const out = new Float32Array(kernels * to * to);
  for (let k = 0; k < kernels; k++) {
    const K = Array.from({ length: from }, (_, y) => Array.from(data.subarray((k * from + y) * from, (k * from + y + 1) * from)));
    const resized = product(product(P, K), transpose(P));
    for (const [y, row] of resized.entries()) out.set(row, (k * to + y) * to);
  }
  return out;
}

type Matrix = number[][];

/** R (to, from): a new row is R times the old one. */
function resizeMatrix(from: number, to: number): Matrix {
  return bicubicWindows(from, to).map(({ start, weights }) => {
    const row = new Array<number>(from).fill(0);
    for (const [j, weight] of weights.entries()) row[start + j] = weight;
    return row;
  });
}

/** pinv(Rᵀ) = R (RᵀR)⁻¹ when R is tall, (R Rᵀ)⁻¹ R when it is wide. */
function pseudoInverseOfTransposed(R: Matrix): Matrix {
  const Rt = transpose(R);
  if (R.length >= Rt.length) return product(R, inverse(product(Rt, R)));
  return product(inverse(product(R, Rt)), R);
}

/** Gauss-Jordan with the largest pivot; the matrices are symmetric, well conditioned and at most 64 wide. */
function inverse(matrix: Matrix): Matrix {
  const n = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...Array.from({ length: n }, (_, j) => (i === j ? 1 : 0))]);
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let i = column + 1; i < n; i++) if (Math.abs(rows[i]?.[column] as number) > Math.abs(rows[pivot]?.[column] as number)) pivot = i;
    [rows[column], rows[pivot]] = [rows[pivot] as number[], rows[column] as number[]];
    const lead = rows[column] as number[];
    const scale = lead[column] as number;
    for (let j = 0; j < 2 * n; j++) lead[j] = (lead[j] as number) / scale;
    for (const [i, row] of rows.entries()) {
      const factor = row[column] as number;
      if (i === column || factor === 0) continue;
      for (let j = column; j < 2 * n; j++) row[j] = (row[j] as number) - factor * (lead[j] as number);
    }
  }
  return rows.map((row) => row.slice(n));
}

function transpose(matrix: Matrix): Matrix {
  return (matrix[0] as number[]).map((_, j) => matrix.map((row) => row[j] as number));
}

function product(a: Matrix, b: Matrix): Matrix {
  const columns = transpose(b);
  return a.map((row) => columns.map((column) => row.reduce((sum, value, i) => sum + value * (column[i] as number), 0)));
}
