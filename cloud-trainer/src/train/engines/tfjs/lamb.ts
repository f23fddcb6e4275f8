/**
 * LAMB (You et al. 2019, arXiv 1904.00962) with the switches of timm 1.0.31's Lamb: gradients first clipped by their global
 * norm, moments with bias correction, weight decay inside the update before the trust ratio, and no trust ratio for
 * parameters without decay.
 *
 *   m ← β1·m + (1 − β1)·g      v ← β2·v + (1 − β2)·g²
 *   u = (m / (1 − β1ᵗ)) / (√(v / (1 − β2ᵗ)) + ε) + λ·w
 *   w ← w − η · r · u          r = ‖w‖ / ‖u‖, or 1 where λ = 0 or a norm is 0
 */
import type { Tensor, Tf, Variable } from "./backend.ts";

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

/** One group of parameters that share rate and decay; `g` is already clipped. */
export type Slot = { w: Variable; m: Variable; v: Variable; decay: number; share: number };

export function lambUpdate(
  tf: Tf,
  options: LambOptions,
  slots: readonly (Slot & { g: Tensor })[],
  at: { step: number; rate: number },
): void {
  const updates = slots.map((slot) => ({ slot, u: direction(tf, options, slot, at.step) }));
  const { decay = 0, share = 1 } = slots[0] ?? {};
  const rate = at.rate * share;
  if (decay > 0 && options.decoupledDecay) {
    const shrink = 1 - (options.correctedDecayPeak === null ? rate : rate ** 2 / options.correctedDecayPeak) * decay;
    for (const { slot } of updates) slot.w.assign(tf.mul(slot.w, shrink) as never);
  }
  const whole = updates.map(({ slot, u }) => ({ slot, u: decay > 0 && !options.decoupledDecay ? tf.add(u, tf.mul(slot.w, decay)) : u }));
  const adapted = decay > 0 || options.alwaysAdapt;
  const shared = adapted && options.trustScope === "group" ? trustRatio(tf, options, whole) : null;
  for (const one of whole) {
    const ratio = adapted ? (shared ?? trustRatio(tf, options, [one])) : null;
    one.slot.w.assign(tf.sub(one.slot.w, tf.mul(one.u, ratio ? tf.mul(ratio, rate) : rate)) as never);
  }
}

function direction(tf: Tf, options: LambOptions, { m, v, g }: Slot & { g: Tensor }, step: number): Tensor {
  const { beta1, beta2, eps, biasCorrection, gradAveraging, caution } = options;
  m.assign(tf.add(tf.mul(m, beta1), tf.mul(g, gradAveraging ? 1 - beta1 : 1)));
  v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2)));
  const [c1, c2] = biasCorrection ? [1 - beta1 ** step, 1 - beta2 ** step] : [1, 1];
  const u = tf.div(tf.div(m, c1), tf.add(tf.sqrt(tf.div(v, c2)), eps));
  if (!caution) return u;
  const agrees = tf.cast(tf.greater(tf.mul(u, g), 0), "float32");
  return tf.mul(u, tf.div(agrees, tf.maximum(tf.mean(agrees), 1e-3)));
}

/** ‖w‖ / ‖u‖, 1 where either is 0; on the device, so that no step waits for a number to come back. */
function trustRatio(tf: Tf, { trustClip }: LambOptions, parts: readonly { slot: Slot; u: Tensor }[]): Tensor {
  const norm = (tensors: Tensor[]) => tf.sqrt(tf.addN(tensors.map((t) => tf.sum(tf.square(t)))));
  const [wNorm, uNorm] = [norm(parts.map(({ slot }) => slot.w)), norm(parts.map(({ u }) => u))];
  const usable = tf.logicalAnd(tf.greater(wNorm, 0), tf.greater(uNorm, 0));
  const ratio = tf.where(usable, tf.div(wNorm, tf.maximum(uNorm, 1e-30)), tf.onesLike(wNorm));
  return trustClip ? tf.minimum(ratio, 1) : ratio;
}
