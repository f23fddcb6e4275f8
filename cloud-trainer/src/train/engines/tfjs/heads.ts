/**
 * Between activations [H·d, B·N], features by tokens, and the layouts that attention multiplies: "rows" [B, H, N, d] for q
 * and k, whose pairs of features must be neighbours for the rotary product, and "columns" [B, H, d, N] for v and the output,
 * which is the cheaper of the two because tokens stay neighbours.
 */
import type { Tensor2D, Tensor4D, Tf } from "./backend.ts";

export type HeadShape = { batch: number; heads: number };

export function headRows(tf: Tf, x: Tensor2D, shape: HeadShape): Tensor4D {
  return tf.transpose(split(tf, x, shape), [2, 0, 3, 1]) as Tensor4D;
}

export function headColumns(tf: Tf, x: Tensor2D, shape: HeadShape): Tensor4D {
  return tf.transpose(split(tf, x, shape), [2, 0, 1, 3]) as Tensor4D;
}

export function fromHeadRows(tf: Tf, x: Tensor4D): Tensor2D {
  const [batch, heads, tokens, size] = x.shape;
  return tf.reshape(tf.transpose(x, [1, 3, 0, 2]), [heads * size, batch * tokens]) as Tensor2D;
}

export function fromHeadColumns(tf: Tf, x: Tensor4D): Tensor2D {
  const [batch, heads, size, tokens] = x.shape;
  return tf.reshape(tf.transpose(x, [1, 2, 0, 3]), [heads * size, batch * tokens]) as Tensor2D;
}

/** [H·d, B·N] → [H, d, B, N]. */
function split(tf: Tf, x: Tensor2D, { batch, heads }: HeadShape): Tensor4D {
  const [width, columns] = x.shape;
  return tf.reshape(x, [heads, width / heads, batch, columns / batch]) as Tensor4D;
}
