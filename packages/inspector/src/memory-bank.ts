/**
 * The memory bank of good patches: a greedy coreset of fixed size, so that neither memory nor time grows with teaching.
 * Farthest-point selection (Sener and Savarese 2018, as PatchCore uses it, arXiv 2106.08265) over cosine distance; rows have
 * length 1. Each good frame keeps an even draw of its patches, so that one may come or go without the others being seen anew.
 */
import { createRandom } from "@kenpin/stats";

/** Patches of one frame [rows, dim] in 8 bits, to be brought to length 1: a quarter of the memory, the same after a restart. */
export type KeptTokens = Int8Array;
/** For each token [N, dim] how far the nearest row of the bank [M, dim] is. */
export type Nearest = (tokens: Float32Array, bank: Float32Array) => Promise<Float32Array>;
/** The bank, and how far each frame's kept tokens lie from one that has not seen it. */
export type TaughtBank = { bank: Float32Array; outside: Float32Array[] };

const BANK_ROWS = 768;
/** Rows a frame keeps: enough for its hottest fiftieth of a percent, and 256 kB where a token has 256 numbers. */
const KEPT_ROWS = 1024;
const KEPT_BYTES = 256 * 1024;
/** Rows looked at for a coreset, of all frames together: the cost is rows × bank, and a thinner draw keeps the same spread. */
const CANDIDATES = 6000;
const FOLDS = 5;
const SEED = 20;

/** Picks up to `limit` rows of `tokens` [N, dim], the first one first, then each the farthest from those picked before. */
export function coreset(tokens: Float32Array, dim: number, limit = BANK_ROWS): Float32Array {
  const total = tokens.length / dim;
  const nearest = new Float64Array(total).fill(Number.POSITIVE_INFINITY);
  const count = Math.min(limit, total);
  const out = new Float32Array(count * dim);
  let pick = 0;
  for (let row = 0; row < count; row++) {
    const picked = tokens.subarray(pick * dim, (pick + 1) * dim);
    out.set(picked, row * dim);
    nearest[pick] = Number.NEGATIVE_INFINITY;
    let farthest = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < total; i++) {
      const distance = 1 - dot(tokens, i * dim, picked);
      if (distance < (nearest[i] as number)) nearest[i] = distance;
      if ((nearest[i] as number) > farthest) {
        farthest = nearest[i] as number;
        pick = i;
      }
    }
  }
  return out;
}

/** An even draw of a frame's tokens in an order of its own, so that the first few are an even draw too. */
export function keepTokens(tokens: Float32Array, dim: number): KeptTokens {
  const total = tokens.length / dim;
  const order = createRandom(SEED).shuffle(Array.from({ length: total }, (_, i) => i));
  const rows = order.slice(0, Math.min(KEPT_ROWS, Math.floor(KEPT_BYTES / dim)));
  const kept = new Int8Array(rows.length * dim);
  for (const [row, from] of rows.entries()) {
    const token = tokens.subarray(from * dim, (from + 1) * dim);
    const scale = 127 / token.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
    for (let i = 0; i < dim; i++) kept[row * dim + i] = Math.round((token[i] as number) * scale);
  }
  return kept;
}

/** One bank of all good frames; each of them is measured against a bank of the other folds, any other frame against the one. */
export async function teachBank(
  frames: readonly { tokens: KeptTokens; isGood: boolean }[],
  { dim, nearest }: { dim: number; nearest: Nearest },
): Promise<TaughtBank> {
  const good = frames.flatMap(({ isGood }, i) => (isGood ? [i] : []));
  const tokens = (asked: readonly number[]) => asked.map((i) => frames[i]?.tokens as KeptTokens);
  const outside = new Array<Float32Array>(frames.length);
  const measure = async (asked: readonly number[], bank: Float32Array) => {
    for (const i of asked) outside[i] = await nearest(unpacked(frames[i]?.tokens as KeptTokens, dim), bank);
  };
  const bank = bankOf(tokens(good), dim);
  const bad = frames.flatMap(({ isGood }, i) => (isGood ? [] : [i]));
  await measure(bad, bank);
  const folds = Math.min(FOLDS, good.length);
  for (let fold = 0; fold < folds; fold++) {
    const others = good.filter((_, place) => place % folds !== fold);
    const own = good.filter((_, place) => place % folds === fold);
    await measure(own, bankOf(tokens(others), dim));
  }
  return { bank, outside };
}

/** Picks from an equal share of each frame. */
function bankOf(frames: readonly KeptTokens[], dim: number): Float32Array {
  const share = Math.max(1, Math.floor(CANDIDATES / frames.length));
  const parts = frames.map((frame) => unpacked(frame, dim, share));
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return coreset(all, dim);
}

/** The first `limit` kept tokens as numbers again, each of length 1. */
function unpacked(kept: KeptTokens, dim: number, limit = Number.POSITIVE_INFINITY): Float32Array {
  const rows = Math.min(limit, kept.length / dim);
  const out = new Float32Array(rows * dim);
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let i = row * dim; i < (row + 1) * dim; i++) squares += (kept[i] as number) ** 2;
    const scale = 1 / Math.sqrt(squares || 1);
    for (let i = row * dim; i < (row + 1) * dim; i++) out[i] = (kept[i] as number) * scale;
  }
  return out;
}

/** Four sums at once: twice as fast as one, whose every addition waits for the last. */
function dot(a: Float32Array, from: number, b: Float32Array): number {
  const whole = b.length - (b.length % 4);
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  for (let k = 0; k < whole; k += 4) {
    s0 += (a[from + k] as number) * (b[k] as number);
    s1 += (a[from + k + 1] as number) * (b[k + 1] as number);
    s2 += (a[from + k + 2] as number) * (b[k + 2] as number);
    s3 += (a[from + k + 3] as number) * (b[k + 3] as number);
  }
  for (let k = whole; k < b.length; k++) s0 += (a[from + k] as number) * (b[k] as number);
  return s0 + s1 + (s2 + s3);
}
