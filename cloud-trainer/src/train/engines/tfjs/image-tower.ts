/**
 * EVA-02's image tower (arXiv 2303.11331, 2303.15389): patches → tokens with absolute and rotary positions → pre-norm
 * blocks of attention with a norm before its output product, and SwiGLU with a norm inside → norm → head.
 * In: `pixel_values` [B, 3, S, S]. Out: `image_embeds` [B, D] and `patch_embeds` [B·P, D], both of length 1.
 * With patch dropout (arXiv 2212.00794) K of the P patches stay; with masking some are replaced by `mask_token`.
 */
import type { ModelConfig } from "@kenpin/clip";
import type { Tensor, Tensor1D, Tensor2D, Tensor3D, Tensor4D, Tf } from "./backend.ts";
import { createImageBlock } from "./image-block.ts";
import { kernelsOf } from "./kernels.ts";
import { linear, normalise, type Weights, weight } from "./layers.ts";
import { type Block, runBlock } from "./recompute.ts";

export type PatchChoice = {
  /** [B, K] int32, row-major patch numbers that stay (patch dropout); without it all stay. */
  kept?: Tensor2D;
  /** [B, P] 1 where the patch's embedding is replaced by `mask_token`; its position, absolute and rotary, stays. */
  masked?: Tensor2D;
};

export type ImageTower = {
  /** Tokens after the final norm [B·(1 + K), W], the class token first in each row of tokens. */
  tokens: (weights: Weights, pixelValues: Tensor4D, choice?: PatchChoice) => Tensor2D;
  /** The head and length 1: [M, W] → [M, D]. */
  head: (weights: Weights, tokens: Tensor2D) => Tensor2D;
  /** Both: `image_embeds` [B, D] from the class tokens, `patch_embeds` [B·K, D] from the rest. */
  embed: (weights: Weights, pixelValues: Tensor4D, choice?: PatchChoice) => { imageEmbeds: Tensor2D; patchEmbeds: Tensor2D };
};

/**
 * Builds the tower; the rotary table is a constant of the configuration and made once. With `recompute` each block's
 * activations are made again in the backward pass instead of being kept.
 */
export function createImageTower(tf: Tf, { image }: ModelConfig, { recompute = false }: { recompute?: boolean } = {}): ImageTower {
  if (image.mlp !== "swiglu" || !image.subNorm || image.norm !== "pre")
    throw new RangeError("this engine trains EVA-02's B and L kind of block");
  const table = rotaryTable(tf, image);
  const heads = image.width / image.headDim;
  const blocks = Array.from({ length: image.depth }, (_, i) => `${TRUNK}blocks.${i}.`);

  const tokens: ImageTower["tokens"] = (weights, pixelValues, choice = {}) => {
    const batch = pixelValues.shape[0];
    const block = createImageBlock(tf, { batch, heads, rotary: image.rotary, eps: image.normEps });
    const constants = [choice.kept ? keptRows(tf, table, choice.kept) : table];
    let x = embedPatches(tf, image, weights, pixelValues, choice); // [W, B·(1 + K)]
    for (const prefix of blocks) x = runBlock(block, x, { tf, weights, prefix, constants, recompute });
    return runBlock(createFinalNorm(tf, image.normEps), x, { tf, weights, prefix: `${TRUNK}norm.` });
  };

  const head: ImageTower["head"] = (weights, rows) => normalise(tf, linear(tf, rows, weights, `${TRUNK}head`));

  const embed: ImageTower["embed"] = (weights, pixelValues, choice = {}) => {
    const batch = pixelValues.shape[0];
    const all = head(weights, tokens(weights, pixelValues, choice));
    const [count, dim] = [all.shape[0] / batch, all.shape[1]];
    const [images, patches] = tf.split(tf.reshape(all, [batch, count, dim]), [1, count - 1], 1) as [Tensor, Tensor];
    return { imageEmbeds: tf.reshape(images, [batch, dim]) as Tensor2D, patchEmbeds: tf.reshape(patches, [-1, dim]) as Tensor2D };
  };
  return { tokens, head, embed };
}

const TRUNK = "visual.trunk.";

/** Patches that stay, masked where they shall be, class token first, positions added: [W, B·(1 + K)], a column a token. */
function embedPatches(
  tf: Tf,
  { size, patch, width }: ModelConfig["image"],
  weights: Weights,
  pixelValues: Tensor4D,
  { kept, masked }: PatchChoice,
): Tensor2D {
  const batch = pixelValues.shape[0];
  const grid = size / patch;
  // 1. a product over the pixels of each patch; pixels have no gradient, so dropped patches cost nothing
  const rows = kept ? patchNumbers(tf, kept, grid * grid) : null;
  const pixels = patchRows(tf, pixelValues, patch, grid);
  const kernel = tf.reshape(weight(weights, `${TRUNK}patch_embed.proj.weight`), [width, -1]) as Tensor2D;
  const product = tf.matMul(kernel, rows ? tf.gather(pixels, rows) : pixels, false, true);
  let embedded: Tensor = tf.add(product, tf.reshape(weight(weights, `${TRUNK}patch_embed.proj.bias`), [width, 1]));
  if (masked) {
    const all = tf.reshape(masked, [-1]);
    const hidden = rows ? tf.gather(all, rows) : all;
    const token = tf.reshape(weight(weights, "mask_token"), [width, 1]);
    embedded = tf.add(tf.mul(embedded, tf.sub(1, hidden)), tf.mul(token, hidden));
  }
  // 2. the class token and absolute positions
  const cls = tf.tile(tf.reshape(weight(weights, `${TRUNK}cls_token`), [width, 1, 1]), [1, batch, 1]) as Tensor3D;
  const sequence = tf.concat([cls, tf.reshape(embedded, [width, batch, -1]) as Tensor3D], 2);
  const positions = tf.reshape(weight(weights, `${TRUNK}pos_embed`), [-1, width]) as Tensor2D;
  const added = kept
    ? tf.reshape(chosenColumns(tf, positions, tokenNumbers(tf, kept)), sequence.shape)
    : tf.reshape(tf.transpose(positions), [width, 1, -1]);
  return tf.reshape(tf.add(sequence, added), [width, -1]) as Tensor2D;
}

/** Rows of [P, W] by number as columns [W, M]: a product with one-hot rows, whose gradient every back end has. */
function chosenColumns(tf: Tf, rows: Tensor2D, numbers: Tensor1D): Tensor2D {
  return tf.matMul(rows, tf.oneHot(numbers, rows.shape[0]) as Tensor2D, true, true);
}

/** Norm with scale and shift, and tokens as rows again: [W, M] → [M, W]. */
function createFinalNorm(tf: Tf, eps: number): Block {
  const kernels = kernelsOf(tf);
  return {
    names: ["weight", "bias"],
    forward: (x, parameters) => {
      const [normal, inverse] = kernels.norm(x, eps);
      const y = tf.tidy(() => tf.add(tf.mul(tf.transpose(normal), parameters("weight")), parameters("bias"))) as Tensor2D;
      return { y, kept: [normal, inverse] };
    },
    backward: (dy, kept, parameters) => {
      const [normal, inverse] = kept as [Tensor2D, Tensor1D];
      const columns = tf.transpose(dy) as Tensor2D;
      const dNormal = tf.mul(columns, tf.reshape(parameters("weight"), [-1, 1])) as Tensor2D;
      return {
        dx: kernels.normGradient(dNormal, normal, inverse),
        gradients: { weight: tf.sum(tf.mul(columns, normal), 1), bias: tf.sum(columns, 1) },
      };
    },
  };
}

/** [B, 3, S, S] → [B·P, 3·p·p], patches in row-major order, pixels as the kernel [W, 3, p, p] has them. */
function patchRows(tf: Tf, pixels: Tensor4D, patch: number, grid: number): Tensor2D {
  const split = tf.reshape(pixels, [-1, 3, grid, patch, grid, patch]);
  return tf.reshape(tf.transpose(split, [0, 2, 4, 1, 3, 5]), [-1, 3 * patch * patch]) as Tensor2D;
}

/** [B, K] patch numbers → [B·K] rows of [B·P, …]. */
function patchNumbers(tf: Tf, kept: Tensor2D, patches: number): Tensor1D {
  const starts = tf.mul(tf.range(0, kept.shape[0], 1, "int32"), tf.scalar(patches, "int32"));
  return tf.reshape(tf.add(kept, tf.expandDims(starts, 1)), [-1]) as Tensor1D;
}

/** Token numbers of what stays, the class token's first: [B·(1 + K)]. */
function tokenNumbers(tf: Tf, kept: Tensor2D): Tensor1D {
  const patches = tf.add(kept, tf.scalar(1, "int32")) as Tensor2D;
  return tf.reshape(tf.concat([tf.zeros([kept.shape[0], 1], "int32") as Tensor2D, patches], 1), [-1]) as Tensor1D;
}

/** The rotary table [1 + P, d] for the tokens that stay [B, 1, 1 + K, d]. */
function keptRows(tf: Tf, table: Tensor2D, kept: Tensor2D): Tensor4D {
  return tf.reshape(tf.gather(table, tokenNumbers(tf, kept)), [kept.shape[0], 1, -1, table.shape[1]]) as Tensor4D;
}

/**
 * cos and sin in turn of the angle of each pair of features, [1 + P, headDim]; the class token is not turned. See
 * `rotaryAngles` of the ONNX writer for the same rule.
 */
function rotaryTable(tf: Tf, image: ModelConfig["image"]): Tensor2D {
  const grid = image.size / image.patch;
  const pairs = image.headDim / 2;
  const bands = pairs / 2;
  const table = new Float32Array((grid * grid + 1) * image.headDim);
  for (let token = 0; token <= grid * grid; token++) {
    const [row, column] = [Math.floor((token - 1) / grid), (token - 1) % grid];
    for (let pair = 0; pair < pairs; pair++) {
      const position = (pair < bands ? row : column) / grid;
      const angle = token === 0 ? 0 : position * 16 * 10_000 ** (-(pair % bands) / bands);
      table.set([Math.cos(angle), Math.sin(angle)], token * image.headDim + 2 * pair);
    }
  }
  return tf.keep(tf.tensor2d(table, [grid * grid + 1, image.headDim]));
}
