/**
 * CLIP's text tower (Radford et al. 2021): causal transformer, exact GELU, the row of the end token times text_projection.
 * In: ids [T, context] (the end token is the largest). Out: `text_embeds` [T, D] of length 1.
 * Embedding lookup is a product with one-hot rows, because the wasm back end has no gradient of gather.
 */
import type { ModelConfig } from "@kenpin/clip";
import { vocabularySize } from "@kenpin/clip";
import type { Tensor, Tensor2D, Tensor3D, Tf } from "./backend.ts";
import { gelu, layerNorm, linear, normalise, type Weights, weight } from "./layers.ts";

const EPS = 1e-5;

export type TextTower = (weights: Weights, ids: Int32Array[]) => Tensor2D;

export function createTextTower(tf: Tf, config: ModelConfig): TextTower {
  const { width, heads, layers, context } = config.text;
  const headDim = width / heads;
  const causal = tf.keep(
    tf.tensor(
      Float32Array.from({ length: context * context }, (_, i) => (i % context > Math.floor(i / context) ? -1e9 : 0)),
      [1, 1, context, context],
    ),
  );

  const attention = (weights: Weights, name: string, x: Tensor2D, batch: number): Tensor2D => {
    const qkv = tf.add(
      tf.matMul(x, weight(weights, `${name}.in_proj_weight`) as unknown as Tensor2D, false, true),
      weight(weights, `${name}.in_proj_bias`),
    );
    const [q, k, v] = tf.split(qkv, 3, 1).map((part) => tf.transpose(tf.reshape(part, [batch, context, heads, headDim]), [0, 2, 1, 3])) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), headDim ** -0.5), causal);
    const mixed = tf.matMul(tf.softmax(scores), v);
    return linear(tf, tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * context, width]) as Tensor2D, weights, `${name}.out_proj`);
  };

  return (weights, ids) => {
    const batch = ids.length;
    const flat = tf.tensor1d(Int32Array.from(ids.flatMap((row) => [...row])), "int32");
    const table = weight(weights, "text.token_embedding.weight") as unknown as Tensor2D;
    const looked = tf.reshape(tf.matMul(tf.oneHot(flat, vocabularySize(config)) as Tensor2D, table), [batch, context, width]) as Tensor3D;
    let x: Tensor2D = tf.reshape(tf.add(looked, weight(weights, "text.positional_embedding")), [batch * context, width]) as Tensor2D;
    for (let i = 0; i < layers; i++) {
      const block = `text.transformer.resblocks.${i}`;
      x = tf.add(x, attention(weights, `${block}.attn`, layerNorm(tf, x, weights, `${block}.ln_1`, EPS), batch)) as Tensor2D;
      const hidden = gelu(tf, linear(tf, layerNorm(tf, x, weights, `${block}.ln_2`, EPS), weights, `${block}.mlp.c_fc`));
      x = tf.add(x, linear(tf, hidden, weights, `${block}.mlp.c_proj`)) as Tensor2D;
    }
    const ends = tf.tensor1d(
      ids.map((row, i) => i * context + row.indexOf(Math.max(...row))),
      "int32",
    );
    const rows: Tensor2D = tf.matMul(tf.oneHot(ends, batch * context) as Tensor2D, x);
    const projected = tf.matMul(
      layerNorm(tf, rows, weights, "text.ln_final", EPS),
      weight(weights, "text.text_projection") as unknown as Tensor2D,
    );
    return normalise(tf, projected as Tensor2D);
  };
}
