/**
 * AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101) as torch.optim.AdamW has it, after the clip by the global norm (optimizer.ts).
 *
 *   w ← w·(1 − η·λ)      m ← β1·m + (1 − β1)·g      v ← β2·v + (1 − β2)·g²
 *   w ← w − η · (m / (1 − β1ᵗ)) / (√(v / (1 − β2ᵗ)) + ε)
 */
import type { Tf } from "./backend.ts";
import { type FlatState, moments, type Pack, quotient, type StepInput, shrunk } from "./moments.ts";

export type AdamWOptions = { name: "adamw"; beta1: number; beta2: number; eps: number; weightDecay: number; clipNorm: number | null };

export const ADAMW_DEFAULTS: AdamWOptions = { name: "adamw", beta1: 0.9, beta2: 0.98, eps: 1e-6, weightDecay: 0.05, clipNorm: 1 };

export function adamWUpdate(
  tf: Tf,
  options: AdamWOptions,
  { decay, share }: Pack,
  before: FlatState,
  { step, rate, g }: StepInput,
): FlatState {
  const { m, v } = moments(tf, options, before, g);
  const { u, a } = quotient(tf, options, { m, v }, step);
  const ownRate = tf.mul(share, rate);
  const w = decay > 0 ? shrunk(tf, before.w, tf.mul(ownRate, decay)) : before.w;
  return { w: tf.sub(w, tf.mul(u, tf.mul(ownRate, a))), m, v };
}
