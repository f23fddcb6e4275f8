/** Weights by open_clip's names, as the towers' graphs want them: transposed for MatMul, joined, rows reordered. */
import { KenpinError } from "@kenpin/schema";

export type Weights = ReadonlyMap<string, { shape: number[]; data: Float32Array }>;

export function take(weights: Weights, name: string): Float32Array {
  const found = weights.get(name);
  if (!found) throw new KenpinError("weight-missing", `the checkpoint has no weight ${name}; it is no model of this configuration`);
  return found.data;
}

/** [out, from] → [from, out]. */
export function transposed(data: Float32Array, out: number): Float32Array {
  const from = data.length / out;
  const result = new Float32Array(data.length);
  for (let i = 0; i < out; i++) for (let j = 0; j < from; j++) result[j * out + i] = data[i * from + j] as number;
  return result;
}

export function joined(parts: Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function scaled(data: Float32Array, factor: number): Float32Array {
  return data.map((value) => value * factor);
}

/**
 * Puts each head's even rows before its odd ones. Rotary pairs (2j, 2j + 1) become (j, j + d/2), so that the turn is a
 * swap of halves; q · k does not change, because both are reordered alike.
 */
export function halvesTogether(data: Float32Array, rows: number, headDim: number): Float32Array {
  const columns = data.length / rows;
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    const [head, at] = [Math.floor(row / headDim) * headDim, row % headDim];
    const from = head + (at < headDim / 2 ? 2 * at : 2 * (at - headDim / 2) + 1);
    out.set(data.subarray(from * columns, (from + 1) * columns), row * columns);
  }
  return out;
}
