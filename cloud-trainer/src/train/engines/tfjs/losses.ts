/**
 * The losses of training: contrastive over captions, and per patch on masks.
 * Embeddings have length 1; `scale` is exp(logit_scale), clamped to 100 as the released recipe does.
 */
import type { Tensor, Tensor2D, Tf } from "./backend.ts";

/**
 * Symmetric InfoNCE (Oord et al. 2018; Radford et al. 2021) over B images and T distinct captions.
 * `positive` [B, T] has 1 where the caption was written for the image; `blocked` [B, T] has 1 where another caption is
 * also true of it: such pairs are neither positives nor negatives.
 */
export function contrastiveLoss(
  tf: Tf,
  image: Tensor2D,
  text: Tensor2D,
  { scale, positive, blocked }: { scale: Tensor; positive: Tensor2D; blocked?: Tensor2D },
): Tensor {
  const cosines = tf.mul(tf.matMul(image, text, false, true), scale) as Tensor2D;
  const logits = blocked ? (tf.sub(cosines, tf.mul(blocked, 1e4)) as Tensor2D) : cosines;
  const oneWay = (scores: Tensor2D, target: Tensor2D) => {
    const share = tf.div(target, tf.maximum(tf.sum(target, 1, true), 1));
    return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(scores), share), 1)));
  };
  return tf.mul(tf.add(oneWay(logits, positive), oneWay(tf.transpose(logits) as Tensor2D, tf.transpose(positive) as Tensor2D)), 0.5);
}

/** The same where image i belongs to text i alone, as open_clip's ClipLoss. */
export function clipLoss(tf: Tf, image: Tensor2D, text: Tensor2D, scale: Tensor): Tensor {
  return contrastiveLoss(tf, image, text, { scale, positive: tf.eye(image.shape[0]) });
}

/**
 * SigLIP's loss (Zhai et al. 2023, arXiv 2303.15343, algorithm 1): every pair is a yes-or-no question of its own,
 *   (1 / B) Σ log(1 + e^(−y·z))      z = scale · cos + bias      y = 1 for positive pairs, −1 for the others.
 * Blocked pairs are left out. Without relations image i belongs to text i alone, as in open_clip's SigLipLoss.
 */
export function sigmoidLoss(
  tf: Tf,
  image: Tensor2D,
  text: Tensor2D,
  { scale, bias, positive, blocked }: { scale: Tensor; bias: Tensor; positive?: Tensor2D; blocked?: Tensor2D },
): Tensor {
  const z = tf.add(tf.mul(tf.matMul(image, text, false, true), scale), bias);
  // log(1 + e^(−yz)) = log(1 + e^z) − [y = 1]·z
  const pairs = tf.sub(tf.softplus(z), tf.mul(positive ?? tf.eye(image.shape[0]), z));
  return tf.div(tf.sum(blocked ? tf.mul(pairs, tf.sub(1, blocked)) : pairs), image.shape[0]);
}

/** Patch logit: scale · (cos to the bad direction − cos to the good one). [M, D] → [M]. */
export function patchLogits(tf: Tf, patches: Tensor2D, directions: { good: Tensor; bad: Tensor }, scale: Tensor): Tensor {
  const difference = tf.reshape(tf.sub(directions.bad, directions.good), [-1, 1]) as Tensor2D;
  return tf.mul(tf.reshape(tf.matMul(patches, difference), [-1]), scale);
}

/** Cross-entropy of logits against targets in [0, 1], weighted; weights of zero leave a case out. */
export function weightedCrossEntropy(tf: Tf, logits: Tensor, targets: Tensor, weights: Tensor): Tensor {
  // max(x, 0) − x·t + log(1 + exp(−|x|))
  const loss = tf.add(tf.sub(tf.relu(logits), tf.mul(logits, targets)), tf.log1p(tf.exp(tf.neg(tf.abs(logits)))));
  return tf.div(tf.sum(tf.mul(loss, weights)), tf.maximum(tf.sum(weights), 1e-6));
}

/**
 * Mean of the `count` largest values of each row, [R, C] → [R]. tfjs has no gradient of top-k: it goes to the values at or
 * above the count-th, in equal shares.
 */
export function meanOfTop(tf: Tf, rows: Tensor2D, count: number): Tensor {
  const op = tf.customGrad((...args) => {
    const [values, save] = args as unknown as [Tensor, (tensors: Tensor[]) => void];
    const top = tf.topk(values, count, true).values;
    const least = tf.min(top, 1, true);
    save([tf.cast(tf.greaterEqual(values, least), "float32")]);
    return {
      value: tf.mean(top, 1),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [chosen] = saved as [Tensor];
        return tf.mul(tf.expandDims(dy, 1), tf.div(chosen, tf.sum(chosen, 1, true)));
      },
    };
  });
  return op(rows);
}
