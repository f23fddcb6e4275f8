/**
 * AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101) as torch.optim.AdamW has it, after the clip by the global norm (optimizer.ts).
 *
 *   w ← w·(1 − η·λ)      m ← β1·m + (1 − β1)·g      v ← β2·v + (1 − β2)·g²
 *   w ← w − η · (m / (1 − β1ᵗ)) / (√(v / (1 − β2ᵗ)) + ε)
 */
import type { Tensor2D, Tf } from "./backend.ts";
import { type Pack, type StepInput, shrunk } from "./pack.ts";

export type AdamWOptions = { name: "adamw"; beta1: number; beta2: number; eps: number; weightDecay: number; clipNorm: number | null };

export const ADAMW_DEFAULTS: AdamWOptions = { name: "adamw", beta1: 0.9, beta2: 0.98, eps: 1e-6, weightDecay: 0.05, clipNorm: 1 };

/** The weights after one step. */
export function adamWUpdate(tf: Tf, { decay, share, moments }: Pack, { w, g, step, rate }: StepInput): Tensor2D {
  const direction = moments.advance({ g, correctedStep: step, factor: 1, start: null });
  const ownRate = tf.mul(share, rate);
  return tf.sub(decay > 0 ? shrunk(tf, w, tf.mul(ownRate, decay)) : w, tf.mul(direction, ownRate));
}
