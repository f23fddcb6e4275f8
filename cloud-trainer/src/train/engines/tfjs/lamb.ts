/**
 * LAMB (You et al. 2019, arXiv 1904.00962) as timm 1.0 has it: gradients first clipped by their global norm, moments with
 * bias correction, weight decay inside the update before the trust ratio, and no trust ratio for parameters without decay.
 *
 *   m ← β1·m + (1 − β1)·g      v ← β2·v + (1 − β2)·g²
 *   u = (m / (1 − β1ᵗ)) / (√(v / (1 − β2ᵗ)) + ε) + λ·w
 *   w ← w − η · r · u          r = ‖w‖ / ‖u‖, or 1 where λ = 0 or a norm is 0
 */
import type { Tensor, Tf, Variable } from "./backend.ts";
import type { Weights } from "./layers.ts";

export type LambOptions = { beta1: number; beta2: number; eps: number; weightDecay: number; clipNorm: number };
const LAMB_DEFAULTS: LambOptions = { beta1: 0.9, beta2: 0.98, eps: 1e-6, weightDecay: 0.05, clipNorm: 1 };

type Slot = { m: Variable; v: Variable; decay: number; rateScale: number };

export class Lamb {
  #tf: Tf;
  #options: LambOptions;
  #slots = new Map<string, Slot>();
  #step = 0;

  /** `rateScale` gives a parameter its own share of the learning rate: towers and layer decay. */
  constructor(tf: Tf, weights: Weights, options: Partial<LambOptions> = {}, rateScale: (name: string) => number = () => 1) {
    this.#tf = tf;
    this.#options = { ...LAMB_DEFAULTS, ...options };
    for (const [name, variable] of weights) {
      if (!variable.trainable) continue;
      const zeros = () => tf.variable(tf.zeros(variable.shape), false);
      this.#slots.set(name, {
        m: zeros(),
        v: zeros(),
        decay: hasDecay(name, variable.shape) ? this.#options.weightDecay : 0,
        rateScale: rateScale(name),
      });
    }
  }

  /** One step; answers with the gradients' global norm before clipping. */
  step(weights: Weights, gradients: ReadonlyMap<string, Tensor>, rate: number): number {
    const tf = this.#tf;
    const { clipNorm } = this.#options;
    this.#step++;
    const norm = tf.tidy(() => tf.sqrt(tf.addN([...gradients.values()].map((g) => tf.sum(tf.square(g))))).dataSync()[0] as number);
    if (!Number.isFinite(norm)) return norm;
    const shrink = Math.min(1, clipNorm / (norm + 1e-6));
    for (const [name, gradient] of gradients) {
      const slot = this.#slots.get(name);
      const variable = weights.get(name);
      if (slot && variable) tf.tidy(() => this.#update(variable, slot, tf.mul(gradient, shrink), rate * slot.rateScale));
    }
    return norm;
  }

  #update(w: Variable, { m, v, decay }: Slot, g: Tensor, rate: number): void {
    const tf = this.#tf;
    const { beta1, beta2, eps } = this.#options;
    m.assign(tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1)));
    v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2)));
    const [c1, c2] = [1 - beta1 ** this.#step, 1 - beta2 ** this.#step];
    const direction = tf.div(tf.div(m, c1), tf.add(tf.sqrt(tf.div(v, c2)), eps));
    const u = decay > 0 ? tf.add(direction, tf.mul(w, decay)) : direction;
    const ratio = decay > 0 ? trustRatio(tf, w, u) : tf.scalar(1);
    w.assign(tf.sub(w, tf.mul(tf.mul(u, ratio), rate)) as never);
  }

  dispose(): void {
    for (const { m, v } of this.#slots.values()) {
      m.dispose();
      v.dispose();
    }
  }
}

/** ‖w‖ / ‖u‖, 1 where either is 0; on the device, so that no step waits for a number to come back. */
function trustRatio(tf: Tf, w: Tensor, u: Tensor): Tensor {
  const [wNorm, uNorm] = [tf.norm(w), tf.norm(u)];
  const usable = tf.logicalAnd(tf.greater(wNorm, 0), tf.greater(uNorm, 0));
  return tf.where(usable, tf.div(wNorm, tf.maximum(uNorm, 1e-30)), tf.onesLike(wNorm));
}

/**
 * Norms, biases and positions have no trust ratio in LAMB, so a rate that suits matrices would throw them about: within
 * twenty steps all embeddings point one way. They get this share of the rate.
 */
export const PLAIN_RATE = 0.1;

/** No decay for norms, biases, positions, the class token and the logit scale (the released recipe's rule). */
export function hasDecay(name: string, shape: readonly number[]): boolean {
  return shape.length > 1 && !/(bias|pos_embed|positional_embedding|cls_token|logit_scale)$/.test(name);
}

/** Linear warm-up, then a cosine to `floor` of the peak. */
export function cosineRate(
  step: number,
  { peak, warmup, steps, floor = 0.02 }: { peak: number; warmup: number; steps: number; floor?: number },
): number {
  if (step < warmup) return (peak * (step + 1)) / warmup;
  const t = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  return peak * (floor + ((1 - floor) * (1 + Math.cos(Math.PI * t))) / 2);
}
