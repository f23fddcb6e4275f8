/**
 * AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101) as torch.optim.AdamW has it, with a clip by the global norm before.
 *
 *   w ← w·(1 − η·λ)      m ← β1·m + (1 − β1)·g      v ← β2·v + (1 − β2)·g²
 *   w ← w − η · (m / (1 − β1ᵗ)) / (√(v / (1 − β2ᵗ)) + ε)
 */
import type { Tensor, Tf } from "./backend.ts";
import type { Slot } from "./lamb.ts";

export type AdamWOptions = { name: "adamw"; beta1: number; beta2: number; eps: number; weightDecay: number; clipNorm: number | null };

export const ADAMW_DEFAULTS: AdamWOptions = { name: "adamw", beta1: 0.9, beta2: 0.98, eps: 1e-6, weightDecay: 0.05, clipNorm: 1 };

export function adamWUpdate(
  tf: Tf,
  options: AdamWOptions,
  slots: readonly (Slot & { g: Tensor })[],
  at: { step: number; rate: number },
): void {
  const { beta1, beta2, eps } = options;
  const [c1, c2] = [1 - beta1 ** at.step, 1 - beta2 ** at.step];
  for (const { w, m, v, g, decay, share } of slots) {
    const rate = at.rate * share;
    m.assign(tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1)));
    v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2)));
    const u = tf.div(tf.div(m, c1), tf.add(tf.sqrt(tf.div(v, c2)), eps));
    w.assign(tf.sub(tf.mul(w, 1 - rate * decay), tf.mul(u, rate)) as never);
  }
}
