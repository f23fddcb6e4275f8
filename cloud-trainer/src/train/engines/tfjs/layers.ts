/**
 * The layers both towers are made of, each a forward and a backward function by hand: what the backward pass needs is what
 * the forward pass gave, so that a block may keep it or make it again. None records gradients; blocks do (recompute.ts).
 * Shapes: activations [W, M], features by tokens, one column a token; weights [out, in] as checkpoints have them.
 */
import type { Tensor, Tensor1D, Tensor2D, Tf, Variable } from "./backend.ts";
import { kernelsOf } from "./kernels.ts";
import type { Kernels } from "./portable-kernels.ts";

/** Weights by open_clip's names. */
export type Weights = Map<string, Variable>;

export function weight(weights: Weights, name: string): Variable {
  const found = weights.get(name);
  if (!found) throw new RangeError(`no weight called ${name}`);
  return found;
}

/** x [M, from] · W [out, from]ᵀ + b, for rows of tokens and with tfjs's own gradient. */
export function linear(tf: Tf, x: Tensor2D, weights: Weights, name: string): Tensor2D {
  const product = tf.matMul(x, weight(weights, `${name}.weight`) as unknown as Tensor2D, false, true);
  const bias = weights.get(`${name}.bias`);
  return (bias ? tf.add(product, bias) : product) as Tensor2D;
}

/** One of the products that share an input, with what its weight and its bias are multiplied by. */
export type Product = { weight: Tensor; bias: Tensor | null; weightScale?: number; biasScale?: number };

export function scaled(product: Product, by: number): Product {
  return { ...product, weightScale: by, biasScale: by };
}
/** Scale γ and shift β of the layer norm before a product. */
export type Affine = { gamma: Tensor; beta: Tensor };

/**
 * y = W·(γ∘x̂ + β) + b for several W at once, as one product (W∘γ)·x̂ + (b + W·β): scale and shift then cost as much as a
 * weight, not as much as the activations. x [in, M] → [out, M] a part.
 */
export function products(tf: Tf, x: Tensor2D, parts: readonly Product[], affine?: Affine): Tensor2D[] {
  return tf.tidy(() => {
    const joined = joinRows(tf, parts);
    const kernel = affine ? (tf.mul(joined, affine.gamma) as Tensor2D) : joined;
    const y = tf.add(tf.matMul(kernel, x), joinBiases(tf, parts, joined, affine)) as Tensor2D;
    return cutRows(tf, y, parts);
  });
}

/** Gradients of `products` by its input, by each part's weight and bias, and by γ and β. */
export function productsGradient(
  tf: Tf,
  { dy, x, parts, affine }: { dy: readonly Tensor2D[]; x: Tensor2D; parts: readonly Product[]; affine?: Affine },
): { dx: Tensor2D; weights: Tensor[]; biases: Tensor1D[]; gamma?: Tensor; beta?: Tensor } {
  return tf.tidy(() => {
    const joined = joinRows(tf, parts);
    const kernels = cutRows(tf, affine ? (tf.mul(joined, affine.gamma) as Tensor2D) : joined, parts);
    const terms = dy.map((one, i) => tf.matMul<Tensor2D>(kernels[i] as Tensor2D, one, true, false)); // Kᵀ·dy
    const dKernel = joinOf(
      tf,
      dy.map((one) => tf.matMul<Tensor2D>(one, x, false, true)),
    ); // dy·x̂ᵀ
    const dBias = joinOf(
      tf,
      dy.map((one) => tf.sum(one, 1) as Tensor1D),
    );
    const column = tf.reshape(dBias, [-1, 1]) as Tensor2D;
    // dW = dK∘γ + db·βᵀ: the weight also acts on β
    const dJoined = affine ? (tf.add(tf.mul(dKernel, affine.gamma), tf.mul(column, affine.beta)) as Tensor2D) : dKernel;
    return {
      dx: terms.length === 1 ? (terms[0] as Tensor2D) : tf.addN<Tensor2D>(terms),
      weights: cutRows(tf, dJoined, parts).map((one, i) => scaledBy(tf, one, parts[i]?.weightScale)),
      biases: cutRows(tf, dBias, parts).map((one, i) => scaledBy(tf, one, parts[i]?.biasScale)),
      ...(affine && {
        gamma: tf.sum(tf.mul(dKernel, joined), 0),
        beta: tf.reshape(tf.matMul(joined, column, true, false), [-1]),
      }),
    };
  });
}

function joinRows(tf: Tf, parts: readonly Product[]): Tensor2D {
  return joinOf(
    tf,
    parts.map(({ weight: one, weightScale }) => scaledBy(tf, one as Tensor2D, weightScale)),
  );
}

function joinBiases(tf: Tf, parts: readonly Product[], joined: Tensor2D, affine?: Affine): Tensor2D {
  const own = parts.map(({ weight: { shape }, bias, biasScale }) =>
    bias ? scaledBy(tf, bias, biasScale) : tf.zeros([shape[0] as number]),
  );
  const bias = tf.reshape(tf.concat(own as Tensor1D[]), [-1, 1]) as Tensor2D;
  return affine ? tf.add(bias, tf.matMul(joined, tf.reshape(affine.beta, [-1, 1]) as Tensor2D)) : bias;
}

function scaledBy<T extends Tensor>(tf: Tf, x: T, scale = 1): T {
  return scale === 1 ? x : (tf.mul(x, scale) as T);
}

function joinOf<T extends Tensor1D | Tensor2D>(tf: Tf, parts: T[]): T {
  return parts.length === 1 ? (parts[0] as T) : (tf.concat(parts as Tensor1D[], 0) as Tensor as T);
}

/** Cut into what belongs to each part, which shares the memory of the whole. */
function cutRows<T extends Tensor1D | Tensor2D>(tf: Tf, all: T, parts: readonly Product[]): T[] {
  return parts.length === 1
    ? [all]
    : (tf.split(
        all as Tensor1D,
        parts.map(({ weight: { shape } }) => shape[0] as number),
        0,
      ) as Tensor[] as T[]);
}

/**
 * SiLU(2a)·b, EVA-02's gate, for a gate whose product was scaled by a half: SiLU(2a) = a·(1 + tanh a), and a tanh is a third
 * of the cost of a sigmoid here. Gives h, and t = tanh a for the backward pass.
 */
export function swiglu(tf: Tf, a: Tensor2D, b: Tensor2D): [h: Tensor2D, t: Tensor2D] {
  return tf.tidy(() => {
    const t = tf.tanh(a);
    const product = tf.mul(a, b);
    return [tf.add(product, tf.mul(product, t)), t];
  });
}

/** With q = dh·a: db = q·(1 + t), da = b·(dh·(1 + t) + q·(1 − t²)). */
export function swigluGradient(
  tf: Tf,
  kernels: Kernels,
  dh: Tensor2D,
  [a, b, t]: [Tensor2D, Tensor2D, Tensor2D],
): [da: Tensor2D, db: Tensor2D] {
  return tf.tidy(() => {
    const open = tf.add(t, 1);
    const q = tf.mul<Tensor2D>(dh, a);
    const db = tf.mul(q, open);
    return [tf.mul(b, tf.add(tf.mul(dh, open), kernels.tanhGradient(t, q))), db] as [Tensor2D, Tensor2D];
  });
}

/**
 * √2·GELU(√2·z), the exact form (Hendrycks and Gimpel 2016), for products before and after that are scaled by 1/√2:
 * GELU(x) = x·(1 + erf(x/√2))/2, so that z·(1 + erf z) is all that is left. Gives h, and erf z for the backward pass.
 */
export function gelu(tf: Tf, z: Tensor2D): [h: Tensor2D, erf: Tensor2D] {
  return tf.tidy(() => {
    const erf = tf.erf(z);
    return [tf.add(z, tf.mul(z, erf)), erf];
  });
}

const LOG_TWO_OVER_SQRT_PI = Math.log(2 / Math.sqrt(Math.PI));

/** dz = dh·(1 + erf z + z·(2/√π)·exp(−z²)); the constant goes into the exponent. */
export function geluGradient(tf: Tf, dh: Tensor2D, [z, erf]: [Tensor2D, Tensor2D]): Tensor2D {
  return tf.tidy(() => {
    const density = tf.exp(tf.sub(LOG_TWO_OVER_SQRT_PI, tf.square(z)));
    return tf.add(dh, tf.mul(dh, tf.add(erf, tf.mul(z, density)))) as Tensor2D;
  });
}

/** Rows of a table by number, [V, W] and [M] → [M, W]; the gradient is the sum of rows by number. */
export function lookup(tf: Tf, table: Tensor2D, numbers: Tensor1D): Tensor2D {
  const op = tf.customGrad((...args) => {
    const [rows, save] = args as unknown as [Tensor2D, (tensors: Tensor[]) => void];
    save([numbers]);
    return {
      value: tf.gather(rows, numbers),
      gradFunc: (dy: Tensor, saved: Tensor[]) =>
        tf.tidy(() => kernelsOf(tf).scatterRows(dy as Tensor2D, saved[0] as Tensor1D, rows.shape[0])),
    };
  });
  return op(table) as Tensor2D;
}

/** Rows scaled to length 1: y = x·r, dx = r·(dy − y·Σ dy·y). */
export function normalise<T extends Tensor>(tf: Tf, x: T): T {
  const op = tf.customGrad((...args) => {
    const [rows, save] = args as unknown as [Tensor, (tensors: Tensor[]) => void];
    const axis = rows.shape.length - 1;
    const inverse = tf.rsqrt(tf.add(tf.sum(tf.square(rows), axis, true), 1e-12));
    const y = tf.mul(rows, inverse);
    save([y, inverse]);
    return {
      value: y,
      gradFunc: (dy: Tensor, saved: Tensor[]) =>
        tf.tidy(() => {
          const [unit, r] = saved as [Tensor, Tensor];
          return tf.mul(tf.sub(dy, tf.mul(unit, tf.sum(tf.mul(dy, unit), axis, true))), r);
        }),
    };
  });
  return op(x) as T;
}
