/**
 * One block of EVA-02's image tower (arXiv 2303.11331), forward and backward:
 *   x ← x + proj(norm(attention(norm1(x))))      rotary positions on q and k, a norm before the output product
 *   x ← x + fc2(norm(SiLU(fc1_g(norm2(x)))·fc1_x(norm2(x))))
 * In and out: [W, B·N], features by tokens; the rotary table [N, d] or [B, 1, N, d] is its one constant.
 */
import type { Tensor, Tensor1D, Tensor2D, Tensor4D, Tf } from "./backend.ts";
import { createAttention } from "./attention.ts";
import { fromHeadColumns, fromHeadRows, headColumns, headRows } from "./heads.ts";
import { kernelsOf } from "./kernels.ts";
import { type Product, products, productsGradient, scaled, swiglu, swigluGradient } from "./layers.ts";
import { affine, affineGradients, type Block, type Parameters, part, partGradients } from "./recompute.ts";

const NAMES = [
  "norm1.weight",
  "norm1.bias",
  "attn.q_proj.weight",
  "attn.q_proj.bias",
  "attn.k_proj.weight",
  "attn.v_proj.weight",
  "attn.v_proj.bias",
  "attn.norm.weight",
  "attn.norm.bias",
  "attn.proj.weight",
  "attn.proj.bias",
  "norm2.weight",
  "norm2.bias",
  "mlp.fc1_g.weight",
  "mlp.fc1_g.bias",
  "mlp.fc1_x.weight",
  "mlp.fc1_x.bias",
  "mlp.norm.weight",
  "mlp.norm.bias",
  "mlp.fc2.weight",
  "mlp.fc2.bias",
];

export type ImageBlockOptions = { batch: number; heads: number; rotary: boolean; eps: number };

export function createImageBlock(tf: Tf, { batch, heads, rotary, eps }: ImageBlockOptions): Block {
  const kernels = kernelsOf(tf);
  const attention = createAttention(tf, { causal: false });
  const shape = { batch, heads };
  const turn = (x: Tensor4D, table: Tensor, back = false) => (rotary ? kernels.rotate(x, table, back) : x);

  const forward: Block["forward"] = (x, parameters, [table]) => {
    // 1. attention
    const [n1, r1] = kernels.norm(x, eps);
    const [q, k, v] = tf.tidy(() => {
      const [a, b, c] = products(tf, n1, qkv(parameters, heads), affine(parameters, "norm1")) as [Tensor2D, Tensor2D, Tensor2D];
      return [turn(headRows(tf, a, shape), table as Tensor), turn(headRows(tf, b, shape), table as Tensor), headColumns(tf, c, shape)];
    }) as [Tensor4D, Tensor4D, Tensor4D];
    const mixed = attention.forward(q, k, v);
    const [na, ra] = tf.tidy(() => kernels.norm(fromHeadColumns(tf, mixed.out), eps));
    const middle = tf.tidy(() =>
      tf.add<Tensor2D>(x, products(tf, na, [part(parameters, "attn.proj")], affine(parameters, "attn.norm"))[0] as Tensor2D),
    );
    // 2. SwiGLU
    const [n2, r2] = kernels.norm(middle, eps);
    const [a, b] = products(tf, n2, gate(parameters), affine(parameters, "norm2")) as [Tensor2D, Tensor2D];
    const [h, t] = swiglu(tf, a, b);
    const [nm, rm] = kernels.norm(h, eps);
    h.dispose();
    const y = tf.tidy(() =>
      tf.add<Tensor2D>(middle, products(tf, nm, [part(parameters, "mlp.fc2")], affine(parameters, "mlp.norm"))[0] as Tensor2D),
    );
    return { y, kept: [n1, r1, na, ra, n2, r2, a, b, t, nm, rm, table as Tensor, ...mixed.kept] };
  };

  const backward: Block["backward"] = (dy, kept, parameters) => {
    const [n1, r1, na, ra, n2, r2, a, b, t, nm, rm, table, ...ofAttention] = kept as [
      ...[Tensor2D, Tensor1D, Tensor2D, Tensor1D, Tensor2D, Tensor1D],
      ...[Tensor2D, Tensor2D, Tensor2D, Tensor2D, Tensor1D, Tensor],
      ...Tensor[],
    ];
    // 2. SwiGLU
    const fc2 = productsGradient(tf, { dy: [dy], x: nm, parts: [part(parameters, "mlp.fc2")], affine: affine(parameters, "mlp.norm") });
    const dGate = tf.tidy(() => swigluGradient(tf, kernels, kernels.normGradient(fc2.dx, nm, rm), [a, b, t]));
    const fc1 = productsGradient(tf, { dy: dGate, x: n2, parts: gate(parameters), affine: affine(parameters, "norm2") });
    tf.dispose([fc2.dx, ...dGate]);
    const dMiddle = tf.tidy(() => tf.add<Tensor2D>(dy, kernels.normGradient(fc1.dx, n2, r2)));
    // 1. attention
    const proj = productsGradient(tf, {
      dy: [dMiddle],
      x: na,
      parts: [part(parameters, "attn.proj")],
      affine: affine(parameters, "attn.norm"),
    });
    const dqkv = tf.tidy(() => {
      const dOut = headColumns(tf, kernels.normGradient(proj.dx, na, ra), shape);
      const { dq, dk, dv } = attention.backward(dOut, ofAttention);
      return [fromHeadRows(tf, turn(dq, table, true)), fromHeadRows(tf, turn(dk, table, true)), fromHeadColumns(tf, dv)];
    });
    const qkvs = productsGradient(tf, { dy: dqkv, x: n1, parts: qkv(parameters, heads), affine: affine(parameters, "norm1") });
    const dx = tf.tidy(() => tf.add<Tensor2D>(dMiddle, kernels.normGradient(qkvs.dx, n1, r1)));
    return {
      dx,
      gradients: {
        ...affineGradients("norm1", qkvs),
        ...partGradients(["attn.q_proj", "attn.k_proj", "attn.v_proj"], qkvs),
        ...affineGradients("attn.norm", proj),
        ...partGradients(["attn.proj"], proj),
        ...affineGradients("norm2", fc1),
        ...partGradients(["mlp.fc1_g", "mlp.fc1_x"], fc1),
        ...affineGradients("mlp.norm", fc2),
        ...partGradients(["mlp.fc2"], fc2),
      },
    };
  };
  return { names: NAMES, forward, backward };
}

/** k has no bias; q's product is scaled by d^-0.5, so that the scores need not be. */
function qkv(parameters: Parameters, heads: number): Product[] {
  const q = part(parameters, "attn.q_proj");
  const width = q.weight.shape[0] as number;
  const k = { weight: parameters("attn.k_proj.weight"), bias: null };
  return [scaled(q, (width / heads) ** -0.5), k, part(parameters, "attn.v_proj")];
}

/** The gate is halved, as `swiglu` wants it. */
function gate(parameters: Parameters): Product[] {
  return [scaled(part(parameters, "mlp.fc1_g"), 0.5), part(parameters, "mlp.fc1_x")];
}
