/**
 * The few operations the towers need that tfjs does not have as one, in tfjs's portable operations; raw-kernels.ts has them by
 * TensorFlow's own kernels, which give the same numbers up to rounding.
 * Activations stand feature by feature here: [W, M], one column a token, because then a layer norm is a batch norm, the
 * joined products of q, k and v are cut apart without copying, and a bias is added along rows.
 */
import type { Tensor, Tensor1D, Tensor2D, Tensor4D, Tf } from "./backend.ts";

export type Kernels = {
  /** Columns of x [W, M] with mean 0 and variance 1 (x̂), and 1/σ [M] (Ba et al. 2016, without scale and shift). */
  norm: (x: Tensor2D, eps: number) => [normal: Tensor2D, inverse: Tensor1D];
  /** dx = (dy − mean(dy) − x̂·mean(dy·x̂)) / σ. */
  normGradient: (dy: Tensor2D, normal: Tensor2D, inverse: Tensor1D) => Tensor2D;
  /** Neighbouring pairs of the last axis turned by the table's angles, [..., d] of cos and sin in turn; or turned back. */
  rotate: (x: Tensor4D, table: Tensor, back: boolean) => Tensor4D;
  /** dy · (1 − t²), t = tanh(x). */
  tanhGradient: (t: Tensor2D, dy: Tensor2D) => Tensor2D;
  /** Sum of the rows that have the same number: [M, W] → [count, W]. */
  scatterRows: (rows: Tensor2D, numbers: Tensor1D, count: number) => Tensor2D;
};

export function portableKernels(tf: Tf): Kernels {
  return {
    norm: (x, eps) => {
      const centred = tf.sub(x, tf.mean(x, 0, true));
      const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centred), 0), eps)) as Tensor1D;
      return [tf.mul(centred, inverse), inverse];
    },
    normGradient: (dy, normal, inverse) => {
      const along = tf.mul(normal, tf.mean(tf.mul(dy, normal), 0));
      return tf.mul(tf.sub(tf.sub(dy, tf.mean(dy, 0)), along), inverse);
    },
    rotate: (x, table, back) => {
      const size = x.shape[3];
      const times = (rows: Tensor, matrix: Tensor2D) => tf.reshape(tf.matMul(tf.reshape(rows, [-1, size]) as Tensor2D, matrix), rows.shape);
      const cos = times(table, pairMatrix(tf, size, [1, 1, 0, 0]));
      const sin = times(table, pairMatrix(tf, size, [0, 0, 1, 1]));
      // (t0, t1) → (−t1, t0)
      const turned = times(x, pairMatrix(tf, size, back ? [0, -1, 1, 0] : [0, 1, -1, 0]));
      return tf.add(tf.mul(x, cos), tf.mul(turned, sin)) as Tensor4D;
    },
    tanhGradient: (t, dy) => tf.mul(dy, tf.sub(1, tf.square(t))),
    scatterRows: (rows, numbers, count) => tf.matMul(tf.oneHot(numbers, count) as Tensor2D, rows, true, false),
  };
}

/** Acts on each neighbouring pair of a row as the 2×2 matrix [a, b, c, d]: (t0, t1) → (a·t0 + c·t1, b·t0 + d·t1). */
function pairMatrix(tf: Tf, size: number, [a, b, c, d]: [number, number, number, number]): Tensor2D {
  const matrix = new Float32Array(size * size);
  for (let i = 0; i < size; i += 2) {
    matrix.set([a, b], i * size + i);
    matrix.set([c, d], (i + 1) * size + i);
  }
  return tf.tensor2d(matrix, [size, size]);
}
