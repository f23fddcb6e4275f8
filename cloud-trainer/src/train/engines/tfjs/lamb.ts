/**
 * LAMB (You et al. 2019, arXiv 1904.00962) with the switches of timm 1.0.31's Lamb: gradients first clipped by their global
 * norm (optimizer.ts), moments with bias correction, weight decay inside the update before the trust ratio, and no trust ratio for
 * parameters without decay.
 *
 *   m ← β1·m + (1 − β1)·g      v ← β2·v + (1 − β2)·g²
 *   u = (m / (1 − β1ᵗ)) / (√(v / (1 − β2ᵗ)) + ε) + λ·w
 *   w ← w − η · r · u          r = ‖w‖ / ‖u‖, or 1 where λ = 0 or a norm is 0
 */
import type { Tensor, Tensor2D, Tf } from "./backend.ts";
import type { FlatLayout } from "./flat-layout.ts";
import type { Advance } from "./moments.ts";
import { type Pack, type StepInput, shrunk } from "./pack.ts";

export type LambOptions = {
  name: "lamb";
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** Gradients are scaled down to this global norm; null never clips. */
  clipNorm: number | null;
  /** One trust ratio for each tensor, or one for all tensors of a parameter group, as ZeRO-1's flattened shards had. */
  trustScope: "tensor" | "group";
  biasCorrection: boolean;
  /** m takes (1 − β1)·g; without it g itself. */
  gradAveraging: boolean;
  /** The trust ratio never passes 1 (LAMBC). */
  trustClip: boolean;
  /** Parameters without decay have a trust ratio too. */
  alwaysAdapt: boolean;
  /** Only the parts of an update that agree with the gradient in sign (Liang et al. 2024, arXiv 2411.16085). */
  caution: boolean;
  /** Decay shrinks the weights before the update instead of entering it. */
  decoupledDecay: boolean;
  /** The peak rate: decoupled decay then follows rate² / peak instead of the rate. */
  correctedDecayPeak: number | null;
};

export const LAMB_DEFAULTS: LambOptions = {
  name: "lamb",
  beta1: 0.9,
  beta2: 0.98,
  eps: 1e-6,
  weightDecay: 0.05,
  clipNorm: 1,
  trustScope: "tensor",
  biasCorrection: true,
  gradAveraging: true,
  trustClip: false,
  alwaysAdapt: false,
  caution: false,
  decoupledDecay: false,
  correctedDecayPeak: null,
};

/** The weights after one step. */
export function lambUpdate(tf: Tf, options: LambOptions, pack: Pack, { w: before, g, step, rate }: StepInput): Tensor2D {
  const { decay, share, layout } = pack;
  const ownRate = tf.mul(share, rate);
  const shrinks = decay > 0 && options.decoupledDecay;
  const w = shrinks ? shrunk(tf, before, tf.mul(decayRate(tf, ownRate, options.correctedDecayPeak), decay)) : before;
  const pull: Tensor2D | null = decay > 0 && !shrinks ? tf.mul(w, decay) : null; // λ·w
  const input = { g, correctedStep: options.biasCorrection ? step : null, factor: options.gradAveraging ? 1 : 1 / (1 - options.beta1) };
  const u = options.caution ? cautious(tf, pack, input, pull) : pack.moments.advance({ ...input, start: pull });
  if (decay === 0 && !options.alwaysAdapt) return tf.sub(w, tf.mul(u, ownRate));
  return tf.sub(w, tf.mul(u, tf.mul(ownRate, layout.spread(trustRatio(tf, layout, { w, u }, options.trustClip)))));
}

function decayRate(tf: Tf, rate: Tensor, peak: number | null): Tensor {
  return peak === null ? rate : tf.div(tf.square(rate), peak);
}

/** Where the update agrees with the gradient, made larger by the share of each tensor that was left out; then λ·w. */
function cautious(tf: Tf, { tensors, moments }: Pack, input: Omit<Advance, "start">, pull: Tensor2D | null): Tensor2D {
  const u = moments.advance({ ...input, start: null });
  const agrees = tf.cast(tf.greater(tf.mul(u, input.g), 0), "float32") as Tensor2D;
  const sizes = tf.tensor2d(tensors.parts.map(({ shape }) => [shape.reduce((product, n) => product * n, 1)]));
  const means = tf.maximum(tf.div(tf.transpose(tensors.sums(agrees)), sizes), 1e-3) as Tensor2D;
  const held: Tensor2D = tf.mul(u, tf.mul(agrees, tensors.spread(tf.reciprocal(means))));
  return pull ? tf.add(held, pull) : held;
}

/** ‖w‖ / ‖u‖ of each segment, 1 where either is 0, [S, 1]; on the device, so that no step waits for a number to come back. */
function trustRatio(tf: Tf, layout: FlatLayout, { w, u }: { w: Tensor2D; u: Tensor2D }, trustClip: boolean): Tensor2D {
  const [wNorm, uNorm] = [tf.sqrt(layout.sums(tf.square(w))), tf.sqrt(layout.sums(tf.square(u)))];
  const usable = tf.logicalAnd(tf.greater(wNorm, 0), tf.greater(uNorm, 0));
  const ratio = tf.where(usable, tf.div(wNorm, tf.maximum(uNorm, 1e-30)), tf.onesLike(wNorm));
  return tf.transpose(trustClip ? tf.minimum(ratio, 1) : ratio) as Tensor2D;
}
