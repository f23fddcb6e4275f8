/**
 * The memory bank of good patches: a greedy coreset of fixed size, so that neither memory nor time grows with teaching.
 * Farthest-point selection (Sener and Savarese 2018, as PatchCore uses it) over cosine distance; rows have length 1.
 */
const BANK_ROWS = 768;
/** Rows looked at for the coreset: the cost is rows × bank, and a thinner draw keeps the same spread. */
const CANDIDATES = 6000;

/** Picks up to `limit` rows of `tokens` [N, dim], each the farthest from those picked before. */
export function coreset(tokens: Float32Array, dim: number, limit = BANK_ROWS): Float32Array {
  const total = tokens.length / dim;
  const stride = Math.max(1, Math.ceil(total / CANDIDATES));
  const candidates = Array.from({ length: Math.ceil(total / stride) }, (_, i) => i * stride);
  const nearest = new Float32Array(candidates.length).fill(2);
  const count = Math.min(limit, candidates.length);
  const out = new Float32Array(count * dim);
  let pick = 0;
  for (let row = 0; row < count; row++) {
    const from = (candidates[pick] as number) * dim;
    out.set(tokens.subarray(from, from + dim), row * dim);
    let farthest = -1;
    for (let c = 0; c < candidates.length; c++) {
      const distance = 1 - dot(tokens, (candidates[c] as number) * dim, tokens, from, dim);
      if (distance < (nearest[c] as number)) nearest[c] = distance;
      if ((nearest[c] as number) > farthest) {
        farthest = nearest[c] as number;
        pick = c;
      }
    }
  }
  return out;
}

function dot(a: Float32Array, i: number, b: Float32Array, j: number, dim: number): number {
  let sum = 0;
  for (let k = 0; k < dim; k++) sum += (a[i + k] as number) * (b[j + k] as number);
  return sum;
}
