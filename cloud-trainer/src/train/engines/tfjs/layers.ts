/**
 * The few layers both towers are made of, with gradients written by hand where tfjs's own cost more than the layer.
 * Shapes: B batch, N tokens, W width; tokens are kept as [B·N, W] so that every product is one large matrix product.
 */
import type { Tensor, Tensor2D, Tf, Variable } from "./backend.ts";

/** Weights by open_clip's names. */
export type Weights = Map<string, Variable>;

export function weight(weights: Weights, name: string): Variable {
  const found = weights.get(name);
  if (!found) throw new RangeError(`no weight called ${name}`);
  return found;
}

/** x [M, from] · W [out, from]ᵀ + b. */
export function linear(tf: Tf, x: Tensor2D, weights: Weights, name: string): Tensor2D {
  const product = tf.matMul(x, weight(weights, `${name}.weight`) as unknown as Tensor2D, false, true);
  const bias = weights.get(`${name}.bias`);
  return (bias ? tf.add(product, bias) : product) as Tensor2D;
}

/**
 * Layer norm over the last axis (Ba et al. 2016). The backward pass keeps only x̂ and 1/σ:
 * dx = (g − mean(g) − x̂·mean(g·x̂)) / σ with g = dy·γ.
 */
export function layerNorm(tf: Tf, x: Tensor2D, weights: Weights, name: string, eps: number): Tensor2D {
  const op = tf.customGrad((...args) => {
    const [input, gamma, beta, save] = args as unknown as [Tensor2D, Tensor, Tensor, (tensors: Tensor[]) => void];
    const centred = tf.sub(input, tf.mean(input, 1, true));
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centred), 1, true), eps));
    const normal = tf.mul(centred, inverse);
    save([normal, inverse, gamma]);
    return {
      value: tf.add(tf.mul(normal, gamma), beta),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [xHat, inv, g] = saved as [Tensor, Tensor, Tensor];
        const scaled = tf.mul(dy, g);
        const inner = tf.add(tf.mean(scaled, 1, true), tf.mul(xHat, tf.mean(tf.mul(scaled, xHat), 1, true)));
        return [tf.mul(tf.sub(scaled, inner), inv), tf.sum(tf.mul(dy, xHat), 0), tf.sum(dy, 0)];
      },
    };
  });
  return op(x, weight(weights, `${name}.weight`), weight(weights, `${name}.bias`)) as Tensor2D;
}

/** SiLU(a) · b, EVA-02's gate; keeps a, b and σ(a). */
export function siluGate(tf: Tf, a: Tensor2D, b: Tensor2D): Tensor2D {
  const op = tf.customGrad((...args) => {
    const [gate, value, save] = args as unknown as [Tensor, Tensor, (tensors: Tensor[]) => void];
    const sigma = tf.sigmoid(gate);
    const silu = tf.mul(gate, sigma);
    save([gate, value, sigma]);
    return {
      value: tf.mul(silu, value),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [x, y, s] = saved as [Tensor, Tensor, Tensor];
        const xs = tf.mul(x, s);
        // d silu / dx = σ + x·σ·(1 − σ)
        const slope = tf.add(s, tf.sub(xs, tf.mul(xs, s)));
        return [tf.mul(tf.mul(dy, y), slope), tf.mul(dy, xs)];
      },
    };
  });
  return op(a, b) as Tensor2D;
}

const SQRT_HALF = Math.SQRT1_2;
const INVERSE_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);

/** Exact GELU (Hendrycks and Gimpel 2016), x·Φ(x); the gradient is Φ(x) + x·φ(x). */
export function gelu(tf: Tf, x: Tensor2D): Tensor2D {
  const op = tf.customGrad((...args) => {
    const [input, save] = args as unknown as [Tensor, (tensors: Tensor[]) => void];
    const phi = tf.mul(tf.add(tf.erf(tf.mul(input, SQRT_HALF)), 1), 0.5);
    save([input, phi]);
    return {
      value: tf.mul(input, phi),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [v, cdf] = saved as [Tensor, Tensor];
        const density = tf.mul(tf.exp(tf.mul(tf.square(v), -0.5)), INVERSE_SQRT_2PI);
        return tf.mul(dy, tf.add(cdf, tf.mul(v, density)));
      },
    };
  });
  return op(x) as Tensor2D;
}

/** Rows scaled to length 1. */
export function normalise<T extends Tensor>(tf: Tf, x: T): T {
  const axis = x.shape.length - 1;
  return tf.mul(x, tf.rsqrt(tf.add(tf.sum(tf.square(x), axis, true), 1e-12))) as T;
}
