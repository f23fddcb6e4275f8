/**
 * One block of CLIP's text tower (Radford et al. 2021), forward and backward:
 *   x ← x + out_proj(causal attention(ln_1(x)))      x ← x + c_proj(GELU(c_fc(ln_2(x))))
 * In and out: [W, T·N], features by tokens. No constants.
 */
import { createAttention } from "./attention.ts";
import type { Tensor1D, Tensor2D, Tensor4D, Tf } from "./backend.ts";
import { fromHeadColumns, fromHeadRows, headColumns, headRows } from "./heads.ts";
import { kernelsOf } from "./kernels.ts";
import { gelu, geluGradient, type Product, products, productsGradient, scaled } from "./layers.ts";
import { affine, affineGradients, type Block, type Parameters, part, partGradients } from "./recompute.ts";

const NAMES = [
  "ln_1.weight",
  "ln_1.bias",
  "attn.in_proj_weight",
  "attn.in_proj_bias",
  "attn.out_proj.weight",
  "attn.out_proj.bias",
  "ln_2.weight",
  "ln_2.bias",
  "mlp.c_fc.weight",
  "mlp.c_fc.bias",
  "mlp.c_proj.weight",
  "mlp.c_proj.bias",
];

export function createTextBlock(tf: Tf, { batch, heads, eps }: { batch: number; heads: number; eps: number }): Block {
  const kernels = kernelsOf(tf);
  const attention = createAttention(tf, { causal: true });
  const shape = { batch, heads };

  const forward: Block["forward"] = (x, parameters) => {
    // 1. attention
    const [n1, r1] = kernels.norm(x, eps);
    const [q, k, v] = tf.tidy(() => {
      const [all] = products(tf, n1, [inProduct(parameters)], affine(parameters, "ln_1")) as [Tensor2D];
      const [a, b, c] = tf.split(all, 3, 0) as [Tensor2D, Tensor2D, Tensor2D];
      return [tf.mul(headRows(tf, a, shape), (x.shape[0] / heads) ** -0.5), headRows(tf, b, shape), headColumns(tf, c, shape)];
    }) as [Tensor4D, Tensor4D, Tensor4D];
    const mixed = attention.forward(q, k, v);
    const joined = fromHeadColumns(tf, mixed.out);
    const middle = tf.tidy(() => tf.add<Tensor2D>(x, products(tf, joined, [part(parameters, "attn.out_proj")])[0] as Tensor2D));
    // 2. MLP
    const [n2, r2] = kernels.norm(middle, eps);
    const [z] = products(tf, n2, [intoGelu(parameters)], affine(parameters, "ln_2")) as [Tensor2D];
    const [h, erf] = gelu(tf, z);
    const y = tf.tidy(() => tf.add<Tensor2D>(middle, products(tf, h, [outOfGelu(parameters)])[0] as Tensor2D));
    return { y, kept: [n1, r1, joined, n2, r2, z, erf, h, ...mixed.kept] };
  };

  const backward: Block["backward"] = (dy, kept, parameters) => {
    const [n1, r1, joined, n2, r2, z, erf, h, ...ofAttention] = kept as [
      ...[Tensor2D, Tensor1D, Tensor2D, Tensor2D, Tensor1D, Tensor2D, Tensor2D, Tensor2D],
      ...Tensor4D[],
    ];
    // 2. MLP
    const second = productsGradient(tf, { dy: [dy], x: h, parts: [outOfGelu(parameters)] });
    const dz = geluGradient(tf, second.dx, [z, erf]);
    const first = productsGradient(tf, { dy: [dz], x: n2, parts: [intoGelu(parameters)], affine: affine(parameters, "ln_2") });
    const dMiddle = tf.tidy(() => tf.add<Tensor2D>(dy, kernels.normGradient(first.dx, n2, r2)));
    // 1. attention
    const out = productsGradient(tf, { dy: [dMiddle], x: joined, parts: [part(parameters, "attn.out_proj")] });
    const dqkv = tf.tidy(() => {
      const { dq, dk, dv } = attention.backward(headColumns(tf, out.dx, shape), ofAttention);
      return tf.concat([fromHeadRows(tf, tf.mul(dq, dq.shape[3] ** -0.5)), fromHeadRows(tf, dk), fromHeadColumns(tf, dv)], 0);
    });
    const into = productsGradient(tf, { dy: [dqkv], x: n1, parts: [inProduct(parameters)], affine: affine(parameters, "ln_1") });
    return {
      dx: tf.tidy(() => tf.add<Tensor2D>(dMiddle, kernels.normGradient(into.dx, n1, r1))),
      gradients: {
        ...affineGradients("ln_1", into),
        "attn.in_proj_weight": into.weights[0] as Tensor2D,
        "attn.in_proj_bias": into.biases[0] as Tensor1D,
        ...partGradients(["attn.out_proj"], out),
        ...affineGradients("ln_2", first),
        ...partGradients(["mlp.c_fc"], first),
        ...partGradients(["mlp.c_proj"], second),
      },
    };
  };
  return { names: NAMES, forward, backward };
}

function inProduct(parameters: Parameters): Product {
  return { weight: parameters("attn.in_proj_weight"), bias: parameters("attn.in_proj_bias") };
}

/** `gelu` wants x/√2 … */
function intoGelu(parameters: Parameters): Product {
  return scaled(part(parameters, "mlp.c_fc"), Math.SQRT1_2);
}

/** … and gives √2 times too much; the bias of the product after it is as it is. */
function outOfGelu(parameters: Parameters): Product {
  return { ...part(parameters, "mlp.c_proj"), weightScale: Math.SQRT1_2 };
}
