/**
 * The two moments that LAMB and Adam share, and their quotient, in as few passes over memory as there are.
 * The moments are kept as plain sums, M = Σ β1^(t−i)·g and V = Σ β2^(t−i)·g², without their (1 − β): what a formula
 * multiplies by a constant is then one number at the end,
 *   (m / c1) / (√(v / c2) + ε) = a · M / (√V + ε')      a = (1 − β1) / c1 · √(c2 / (1 − β2))      ε' = ε · √(c2 / (1 − β2))
 * with c1 = 1 − β1ᵗ and c2 = 1 − β2ᵗ, or both 1 without bias correction.
 */
import type { Tensor, Tensor2D, Tf } from "./backend.ts";
import type { FlatLayout } from "./flat-layout.ts";

/** One pack of parameters, flat; all of them have the same decay. */
export type Pack = {
  /** Segments are what shares one trust ratio. */
  layout: FlatLayout;
  /** The same rows with each tensor a segment of its own. */
  tensors: FlatLayout;
  decay: number;
  /** Share of the rate: one number, or [rows, 1] where the parameters' shares differ. */
  share: number | Tensor2D;
};
export type FlatState = { w: Tensor2D; m: Tensor2D; v: Tensor2D };
/** The step from 1, its rate, and the gradient, clipped already. */
export type StepInput = { step: number; rate: number; g: Tensor2D };
export type MomentOptions = { beta1: number; beta2: number; eps: number };

export function moments(tf: Tf, { beta1, beta2 }: MomentOptions, { m, v }: FlatState, g: Tensor2D): { m: Tensor2D; v: Tensor2D } {
  return { m: tf.add(tf.mul(m, beta1), g), v: tf.add(tf.mul(v, beta2), tf.square(g)) };
}

/** M / (√V + ε') and the factor a that is still missing. */
export function quotient(
  tf: Tf,
  { beta1, beta2, eps }: MomentOptions,
  { m, v }: { m: Tensor2D; v: Tensor2D },
  correctedStep: number | null,
): { u: Tensor2D; a: number } {
  const [c1, c2] = correctedStep === null ? [1, 1] : [1 - beta1 ** correctedStep, 1 - beta2 ** correctedStep];
  const root = Math.sqrt(c2 / (1 - beta2));
  return { u: tf.div(m, tf.add(tf.sqrt(v), eps * root)), a: ((1 - beta1) / c1) * root };
}

/** w · (1 − shrink); the shrink is a scalar or [rows, 1]. */
export function shrunk(tf: Tf, w: Tensor2D, shrink: Tensor): Tensor2D {
  return tf.mul(w, tf.sub(1, shrink));
}
