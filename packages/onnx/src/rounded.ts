/**
 * Weights in fewer bits, made from the kernels a float32 graph holds: [K, N], a column an output channel.
 * Order: columns picked, centred (the mean over the outputs taken off, where only the deviation from it is ever read), rows
 * multiplied by the place's smoothing, rounded symmetrically per column: w ≈ scale_n · q, q in [−limit, limit].
 */
import type { PlacePlan, WeightForm } from "./quant-plan.ts";
import { bytesOf, type Made, type Weight } from "./weights.ts";

export type Columns = { from: number; to: number };
export type KernelOptions = { kernel: Weight; width: number; columns: Columns; centred: boolean; smooth: PlacePlan["smooth"] };

function limitOf({ bits }: WeightForm): number {
  return 2 ** (bits - 1) - 1;
}

/** The codes [K, n] and the scales [n] of a rounded kernel. */
export function roundedKernel(options: KernelOptions, form: WeightForm): { codes: Made; scales: Made } {
  const { kernel, width, columns } = options;
  const count = columns.to - columns.from;
  const zero = form.type === "uint8" ? 128 : 0;
  const codes = (parts: Float32Array[]) => {
    const data = prepare(parts[0] as Float32Array, options);
    const scales = columnScales(data, count, limitOf(form));
    const out = new Uint8Array(data.length);
    for (let i = 0, n = 0; i < data.length; i++) {
      out[i] = Math.round((data[i] as number) / (scales[n] as number)) + zero;
      if (++n === count) n = 0;
    }
    return out;
  };
  const scales = (parts: Float32Array[]) => bytesOf(columnScales(prepare(parts[0] as Float32Array, options), count, limitOf(form)));
  return {
    codes: { bytes: (kernel.length / width) * count, from: [kernel], make: codes },
    scales: { bytes: count * 4, from: [kernel], make: scales },
  };
}

export function floatKernel(options: KernelOptions): Made {
  const { kernel, width, columns } = options;
  const bytes = (kernel.length / width) * (columns.to - columns.from) * 4;
  return { bytes, from: [kernel], make: ([data]) => bytesOf(prepare(data as Float32Array, options)) };
}

/** b + W·β: a norm's β moves through the product that reads it, so that the rounded values lie around 0. */
export function movedBias(options: Omit<KernelOptions, "smooth"> & { bias: Weight; beta: Weight | null }): Made {
  const { kernel, bias, beta, columns, centred } = options;
  const count = columns.to - columns.from;
  const from = beta ? [bias, kernel, beta] : [bias];
  return {
    bytes: count * 4,
    from,
    make: ([b, w, shift]) => {
      const out = (b as Float32Array).slice(columns.from, columns.to);
      if (centred) takeMeanOff(out);
      if (!w || !shift) return bytesOf(out);
      const data = prepare(w, { ...options, smooth: null });
      const sums = Float64Array.from(out);
      for (const [k, value] of shift.entries()) {
        for (let n = 0, at = k * count; n < count; n++, at++) sums[n] = (sums[n] as number) + value * (data[at] as number);
      }
      return bytesOf(Float32Array.from(sums));
    },
  };
}

/** γ / s. */
export function smoothedScale(gamma: Weight, smooth: PlacePlan["smooth"]): Made {
  const make = (g: Float32Array) => (smooth ? g.map((value, i) => value / (smooth[i] as number)) : g);
  return { bytes: gamma.length * 4, from: [gamma], make: ([g]) => bytesOf(make(g as Float32Array)) };
}

/** A table's rows, each with its own scale, its mean taken off first where that is asked. */
export function roundedRows(table: Weight, width: number, centred = false): { codes: Made; scales: Made } {
  const rowOf = (data: Float32Array, r: number) => {
    const row = data.slice(r * width, (r + 1) * width);
    if (centred) takeMeanOff(row);
    return { row, scale: row.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12) / 127 };
  };
  const count = table.length / width;
  const codes = (data: Float32Array) => {
    const out = new Int8Array(data.length);
    for (let r = 0; r < count; r++) {
      const { row, scale } = rowOf(data, r);
      for (const [i, value] of row.entries()) out[r * width + i] = Math.round(value / scale);
    }
    return out;
  };
  const scales = (data: Float32Array) => Float32Array.from({ length: count }, (_, r) => rowOf(data, r).scale);
  return {
    codes: { bytes: table.length, from: [table], make: ([data]) => bytesOf(codes(data as Float32Array)) },
    scales: { bytes: count * 4, from: [table], make: ([data]) => bytesOf(scales(data as Float32Array)) },
  };
}

function prepare(kernel: Float32Array, { width, columns, centred, smooth }: Omit<KernelOptions, "kernel">): Float32Array {
  const count = columns.to - columns.from;
  const rows = kernel.length / width;
  const out = new Float32Array(rows * count);
  for (let k = 0; k < rows; k++) {
    const row = out.subarray(k * count, (k + 1) * count);
    row.set(kernel.subarray(k * width + columns.from, k * width + columns.to));
    if (centred) takeMeanOff(row);
    const factor = smooth ? (smooth[k] as number) : 1;
    if (factor !== 1) for (let n = 0; n < count; n++) row[n] = (row[n] as number) * factor;
  }
  return out;
}

function columnScales(data: Float32Array, count: number, limit: number): Float32Array {
  const most = new Float32Array(count).fill(1e-12);
  for (let i = 0, n = 0; i < data.length; i++) {
    const size = Math.abs(data[i] as number);
    if (size > (most[n] as number)) most[n] = size;
    if (++n === count) n = 0;
  }
  return most.map((value) => value / limit);
}

function takeMeanOff(row: Float32Array): void {
  let sum = 0;
  for (const value of row) sum += value;
  const mean = sum / row.length;
  for (let i = 0; i < row.length; i++) row[i] = (row[i] as number) - mean;
}
