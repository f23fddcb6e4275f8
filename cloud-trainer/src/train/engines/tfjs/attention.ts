/**
 * Exact attention, forward and backward by hand. In: q and k [B, H, N, d], q already scaled by d^-0.5, and v [B, H, d, N];
 * out: [B, H, d, N], the layouts that cost the least to make from activations [W, B·N].
 *
 * Up to `WHOLE` tokens the scores are one block and softmax's result is kept. Above, the scores are made tile by tile with a
 * running maximum and sum (Milakov and Gimelshein 2018, arXiv 1805.02867; Rabe and Staats 2021, arXiv 2112.05682; Dao et al.
 * 2022, arXiv 2205.14135), and only the output and the log-sum-exp are kept: memory grows with N, not with N².
 */
import type { Tensor, Tensor4D, Tf } from "./backend.ts";

/** Softmax's result of this many tokens is as large as what else a block keeps of its attention. */
const WHOLE = 288;
/** Scores in one tile: 4 MiB, so that its few temporaries stay in a processor's cache or near it. */
const TILE_SCORES = 2 ** 20;
const TILE_MIN = 64;
const TILE_MAX = 1024;

export type Attention = {
  forward: (q: Tensor4D, k: Tensor4D, v: Tensor4D) => { out: Tensor4D; kept: Tensor[] };
  /** `kept` as `forward` gave it. */
  backward: (dOut: Tensor4D, kept: readonly Tensor[]) => { dq: Tensor4D; dk: Tensor4D; dv: Tensor4D };
};

/** `tile` sets the tiles' size by hand; without it, it follows from the scores that fit. */
export function createAttention(tf: Tf, { causal, tile }: { causal: boolean; tile?: number }): Attention {
  const whole = wholeAttention(tf, causal);
  const tiled = tiledAttention(tf, causal, tile);
  const fits = (tokens: number) => tokens <= (tile ?? WHOLE);
  return {
    forward: (q, k, v) => (fits(q.shape[2]) ? whole : tiled).forward(q, k, v),
    backward: (dOut, kept) => (fits(dOut.shape[3]) ? whole : tiled).backward(dOut, kept),
  };
}

function wholeAttention(tf: Tf, causal: boolean): Attention {
  return {
    forward: (q, k, v) => {
      const [out, p] = tf.tidy(() => {
        const scores = tf.matMul(q, k, false, true);
        const probabilities = tf.softmax(causal ? tf.add(scores, laterTokens(tf, q.shape[2])) : scores);
        return [tf.matMul(v, probabilities, false, true), probabilities];
      }) as [Tensor4D, Tensor4D];
      return { out, kept: [q, k, v, p] };
    },
    backward: (dOut, kept) =>
      tf.tidy(() => {
        const [q, k, v, p] = kept as [Tensor4D, Tensor4D, Tensor4D, Tensor4D];
        const dv = tf.matMul(dOut, p);
        const weighed = tf.mul(tf.matMul(dOut, v, true, false), p);
        const ds = tf.sub(weighed, tf.mul(p, tf.sum(weighed, 3, true)));
        return { dq: tf.matMul(ds, k) as Tensor4D, dk: tf.matMul(ds, q, true, false) as Tensor4D, dv: dv as Tensor4D };
      }),
  };
}

/** −10⁹ where the column, the token looked at, comes after the row: exp makes exactly 0 of it. */
function laterTokens(tf: Tf, tokens: number): Tensor {
  return tf.tidy(() => {
    const numbers = tf.range(0, tokens);
    return tf.mul(tf.cast(tf.greater(numbers, tf.expandDims(numbers, 1)), "float32"), -1e9);
  });
}

function tiledAttention(tf: Tf, causal: boolean, tile?: number): Attention {
  return {
    forward: (q, k, v) => {
      const [out, lse] = tf.tidy(() => {
        const sizes = tileSizes(q, tile);
        const [qs, ks, vs] = [tf.split(q, sizes, 2), tf.split(k, sizes, 2), tf.split(v, sizes, 3)];
        const rows = qs.map((qTile, i) => tf.tidy(() => rowOfTiles(tf, qTile, { ks, vs, last: causal ? i : ks.length - 1, causal })));
        return [
          tf.concat(
            rows.map(([o]) => o),
            3,
          ),
          tf.concat(
            rows.map(([, l]) => l),
            2,
          ),
        ];
      }) as [Tensor4D, Tensor4D];
      return { out, kept: [q, k, v, out, lse] };
    },
    backward: (dOut, kept) =>
      tf.tidy(() => {
        const [q, k, v, out, lse] = kept as [Tensor4D, Tensor4D, Tensor4D, Tensor4D, Tensor4D];
        const sizes = tileSizes(q, tile);
        const [qs, ks, ls] = [q, k, lse].map((x) => tf.split(x, sizes, 2)) as [Tensor[], Tensor[], Tensor[]];
        const [vs, dOuts] = [v, dOut].map((x) => tf.split(x, sizes, 3)) as [Tensor[], Tensor[]];
        // D = Σ over d of dO∘O, the sum that softmax's gradient takes off, one number a row of scores
        const along = tf.tidy(() => tf.split(tf.reshape(tf.sum(tf.mul(dOut, out), 2), lse.shape), sizes, 2));
        const dqs = new Sums(tf);
        const dks = new Sums(tf);
        const dvs = new Sums(tf);
        for (const [i, qTile] of qs.entries()) {
          for (let j = 0; j <= (causal ? i : ks.length - 1); j++) {
            const [dq, dk, dv] = tf.tidy(() => {
              const [kTile, vTile, dTile] = [ks[j], vs[j], dOuts[i]] as [Tensor, Tensor, Tensor];
              const scores = scoresOf(tf, qTile, kTile, causal && i === j);
              const p = tf.exp(tf.sub(scores, ls[i] as Tensor));
              scores.dispose();
              const dp = tf.matMul(dTile, vTile, true, false);
              const ds = tf.mul(p, tf.sub(dp, along[i] as Tensor));
              dp.dispose();
              return [tf.matMul(ds, kTile), tf.matMul(ds, qTile, true, false), tf.matMul(dTile, p)];
            }) as [Tensor, Tensor, Tensor];
            dqs.add(i, dq);
            dks.add(j, dk);
            dvs.add(j, dv);
          }
        }
        return { dq: dqs.joined(2), dk: dks.joined(2), dv: dvs.joined(3) };
      }),
  };
}

/** Output [B, H, d, n] and log-sum-exp [B, H, n, 1] of one tile of queries over all tiles of keys up to `last`. */
function rowOfTiles(
  tf: Tf,
  qTile: Tensor,
  { ks, vs, last, causal }: { ks: Tensor[]; vs: Tensor[]; last: number; causal: boolean },
): [out: Tensor, lse: Tensor] {
  let state: [max: Tensor, sum: Tensor, out: Tensor] | null = null;
  for (let j = 0; j <= last; j++) {
    const before = state;
    state = tf.tidy(() => {
      const scores = scoresOf(tf, qTile, ks[j] as Tensor, causal && j === last);
      const top = tf.max(scores, 3, true);
      const max = before ? tf.maximum(before[0], top) : top;
      const p = tf.exp(tf.sub(scores, max));
      scores.dispose();
      const [sum, out] = [tf.sum(p, 3, true), tf.matMul(vs[j] as Tensor, p, false, true)];
      if (!before) return [max, sum, out];
      const shrink = tf.exp(tf.sub(before[0], max)); // what was summed under the old maximum
      return [max, tf.add(tf.mul(before[1], shrink), sum), tf.add(tf.mul(before[2], asRow(tf, shrink)), out)];
    }) as [Tensor, Tensor, Tensor];
    if (before) tf.dispose(before);
  }
  const [max, sum, out] = state as unknown as [Tensor, Tensor, Tensor];
  return [tf.div(out, asRow(tf, sum)), tf.add(max, tf.log(sum))];
}

function scoresOf(tf: Tf, q: Tensor, k: Tensor, diagonal: boolean): Tensor {
  const scores = tf.matMul(q, k, false, true);
  return diagonal ? tf.add(scores, laterTokens(tf, q.shape[2] as number)) : scores;
}

/** [B, H, n, 1] → [B, H, 1, n]. */
function asRow(tf: Tf, column: Tensor): Tensor {
  const [batch, heads, n] = column.shape as [number, number, number];
  return tf.reshape(column, [batch, heads, 1, n]);
}

/** Tiles of nearly equal size. */
function tileSizes({ shape: [batch, heads, tokens] }: Tensor4D, tile?: number): number[] {
  const side = tile ?? Math.max(TILE_MIN, Math.min(TILE_MAX, Math.floor(Math.sqrt(TILE_SCORES / (batch * heads)))));
  const count = Math.ceil(tokens / side);
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 1) * tokens) / count) - Math.floor((i * tokens) / count));
}

/** Running sums by tile; what went into a sum is given back at once. */
class Sums {
  #tf: Tf;
  #sums: Tensor[] = [];

  constructor(tf: Tf) {
    this.#tf = tf;
  }

  add(index: number, term: Tensor): void {
    const before = this.#sums[index];
    this.#sums[index] = before ? this.#tf.add(before, term) : term;
    if (before) this.#tf.dispose([before, term]);
  }

  joined(axis: number): Tensor4D {
    return this.#tf.concat(this.#sums as Tensor4D[], axis);
  }
}
