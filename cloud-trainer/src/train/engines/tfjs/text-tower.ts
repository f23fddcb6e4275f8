/**
 * CLIP's text tower (Radford et al. 2021): causal transformer, exact GELU, the row of the end token times text_projection.
 * In: ids [T, context] (the end token is the largest). Out: `text_embeds` [T, D] of length 1.
 * With `recompute` each block's activations are made again in the backward pass instead of being kept.
 */
import type { ModelConfig } from "@kenpin/clip";
import type { Tensor1D, Tensor2D, Tf } from "./backend.ts";
import { kernelsOf } from "./kernels.ts";
import { lookup, normalise, products, productsGradient, type Weights, weight } from "./layers.ts";
import { type Block, type Parameters, runBlock } from "./recompute.ts";
import { createTextBlock } from "./text-block.ts";

const EPS = 1e-5;

export type TextTower = (weights: Weights, ids: Int32Array[]) => Tensor2D;

export function createTextTower(tf: Tf, config: ModelConfig, { recompute = false }: { recompute?: boolean } = {}): TextTower {
  const { width, heads, layers, context } = config.text;
  return (weights, ids) => {
    const batch = ids.length;
    // 1. ids to embeddings, positions added, features by tokens
    const numbers = tf.tensor1d(Int32Array.from(ids.flatMap((row) => [...row])), "int32");
    const looked = lookup(tf, weight(weights, "text.token_embedding.weight") as unknown as Tensor2D, numbers);
    const placed = tf.add(tf.reshape(looked, [batch, context, width]), weight(weights, "text.positional_embedding"));
    let x = tf.transpose(tf.reshape(placed, [batch * context, width])) as Tensor2D;
    // 2. blocks
    const block = createTextBlock(tf, { batch, heads, eps: EPS });
    for (let i = 0; i < layers; i++) {
      x = runBlock(block, x, { tf, weights, prefix: `text.transformer.resblocks.${i}.`, recompute });
    }
    // 3. the end token's column of each text, normed and projected
    const ends = Int32Array.from(ids, (row, i) => i * context + row.indexOf(Math.max(...row)));
    const last = tf.transpose(lookup(tf, tf.transpose(x) as Tensor2D, tf.tensor1d(ends, "int32"))) as Tensor2D;
    return normalise(tf, tf.transpose(runBlock(createProjection(tf), last, { tf, weights, prefix: "text." })) as Tensor2D);
  };
}

/** ln_final and text_projection [W, D], which unlike all other products is stored input by output: [W, T] → [D, T]. */
function createProjection(tf: Tf): Block {
  const kernels = kernelsOf(tf);
  const product = (parameters: Parameters) => [{ weight: tf.transpose(parameters("text_projection")), bias: null }];
  const affine = (parameters: Parameters) => ({ gamma: parameters("ln_final.weight"), beta: parameters("ln_final.bias") });
  return {
    names: ["ln_final.weight", "ln_final.bias", "text_projection"],
    forward: (x, parameters) => {
      const [normal, inverse] = kernels.norm(x, EPS);
      const [y] = tf.tidy(() => products(tf, normal, product(parameters), affine(parameters))) as [Tensor2D];
      return { y, kept: [normal, inverse] };
    },
    backward: (dy, kept, parameters) => {
      const [normal, inverse] = kept as [Tensor2D, Tensor1D];
      const back = productsGradient(tf, { dy: [dy], x: normal, parts: product(parameters), affine: affine(parameters) });
      return {
        dx: kernels.normGradient(back.dx, normal, inverse),
        gradients: {
          "ln_final.weight": back.gamma as Tensor1D,
          "ln_final.bias": back.beta as Tensor1D,
          text_projection: tf.transpose(back.weights[0] as Tensor2D),
        },
      };
    },
  };
}
