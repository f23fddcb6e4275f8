/**
 * EVA-02's image tower (arXiv 2303.11331, 2303.15389): patches → tokens with absolute and rotary positions → pre-norm
 * blocks of attention with a norm before its output product, and SwiGLU with a norm inside → norm → head.
 * In: `pixel_values` [B, 3, S, S]. Out: `image_embeds` [B, D] and `patch_embeds` [B·P, D], both of length 1.
 * With patch dropout (arXiv 2212.00794) K of the P patches stay; with masking some are replaced by `mask_token`.
 */
import type { ModelConfig } from "@kenpin/clip";
import type { Tensor, Tensor1D, Tensor2D, Tensor3D, Tensor4D, Tf } from "./backend.ts";
import { layerNorm, linear, normalise, siluGate, type Weights, weight } from "./layers.ts";

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

/** Builds the tower; the rotary tables are constants of the configuration and made once. */
export function createImageTower(tf: Tf, { image }: ModelConfig): ImageTower {
  if (image.mlp !== "swiglu" || !image.subNorm || image.norm !== "pre")
    throw new RangeError("this engine trains EVA-02's B and L kind of block");
  const rotary = rotaryTables(tf, image);
  const turn = rotationMatrix(tf, image.headDim);
  const grid = image.size / image.patch;
  const heads = image.width / image.headDim;

  const attention = (weights: Weights, name: string, x: Tensor2D, { batch, cos, sin }: Tables): Tensor2D => {
    const project = (part: string, rotate: boolean) => {
      const projected = tf.transpose(
        tf.reshape(linear(tf, x, weights, `${name}.${part}_proj`), [batch, -1, heads, image.headDim]),
        [0, 2, 1, 3],
      );
      if (!rotate || !image.rotary) return projected;
      const turned = tf.reshape(tf.matMul(tf.reshape(projected, [-1, image.headDim]) as Tensor2D, turn), projected.shape);
      return tf.add(tf.mul(projected, cos), tf.mul(turned, sin));
    };
    const scores = tf.mul(tf.matMul(project("q", true), project("k", true), false, true), image.headDim ** -0.5);
    const mixed = tf.matMul(tf.softmax(scores), project("v", false));
    const joined = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, image.width]) as Tensor2D;
    return linear(tf, layerNorm(tf, joined, weights, `${name}.norm`, image.normEps), weights, `${name}.proj`);
  };

  const mlp = (weights: Weights, name: string, x: Tensor2D): Tensor2D => {
    const gated = siluGate(tf, linear(tf, x, weights, `${name}.fc1_g`), linear(tf, x, weights, `${name}.fc1_x`));
    return linear(tf, layerNorm(tf, gated, weights, `${name}.norm`, image.normEps), weights, `${name}.fc2`);
  };

  const tokens: ImageTower["tokens"] = (weights, pixelValues, choice = {}) => {
    const batch = pixelValues.shape[0];
    const trunk = "visual.trunk.";
    const rows = choice.kept ? rowNumbers(tf, choice.kept, grid * grid) : null;
    // 1. patches to tokens: a product over the pixels of each patch that stays
    const patches = patchRows(tf, pixelValues, image.patch, grid);
    const kernel = tf.reshape(weight(weights, `${trunk}patch_embed.proj.weight`), [image.width, -1]) as Tensor2D;
    const product = tf.matMul(rows ? tf.gather(patches, rows) : patches, kernel, false, true);
    let embedded = tf.add(product, weight(weights, `${trunk}patch_embed.proj.bias`));
    if (choice.masked) {
      const all = tf.reshape(choice.masked, [-1, 1]);
      const masked = rows ? tf.gather(all, rows) : all;
      const token = tf.reshape(weight(weights, "mask_token"), [1, image.width]);
      embedded = tf.add(tf.mul(embedded, tf.sub(1, masked)), tf.mul(masked, token));
    }
    // 2. class token and absolute positions, then the blocks
    const cls = tf.tile(weight(weights, `${trunk}cls_token`) as unknown as Tensor3D, [batch, 1, 1]);
    const sequence = tf.concat([cls, tf.reshape(embedded, [batch, -1, image.width]) as Tensor3D], 1);
    const positions = keptPositions(tf, weight(weights, `${trunk}pos_embed`), choice.kept);
    const tables = { batch, cos: keptAngles(tf, rotary.cos, choice.kept), sin: keptAngles(tf, rotary.sin, choice.kept) };
    let x = tf.reshape(tf.add(sequence, positions), [-1, image.width]) as Tensor2D;
    for (let i = 0; i < image.depth; i++) {
      const block = `${trunk}blocks.${i}`;
      x = tf.add(x, attention(weights, `${block}.attn`, layerNorm(tf, x, weights, `${block}.norm1`, image.normEps), tables));
      x = tf.add(x, mlp(weights, `${block}.mlp`, layerNorm(tf, x, weights, `${block}.norm2`, image.normEps)));
    }
    return layerNorm(tf, x, weights, `${trunk}norm`, image.normEps);
  };

  const head: ImageTower["head"] = (weights, rows) => normalise(tf, linear(tf, rows, weights, "visual.trunk.head"));

  const embed: ImageTower["embed"] = (weights, pixelValues, choice = {}) => {
    const batch = pixelValues.shape[0];
    const all = tf.reshape(head(weights, tokens(weights, pixelValues, choice)), [
      batch,
      -1,
      weights.get("visual.trunk.head.bias")?.size ?? 0,
    ]);
    const [, count, dim] = all.shape as [number, number, number];
    return {
      imageEmbeds: tf.reshape(tf.slice(all, [0, 0, 0], [batch, 1, dim]), [batch, dim]) as Tensor2D,
      patchEmbeds: tf.reshape(tf.slice(all, [0, 1, 0], [batch, count - 1, dim]), [batch * (count - 1), dim]) as Tensor2D,
    };
  };
  return { tokens, head, embed };
}

type Tables = { batch: number; cos: Tensor; sin: Tensor };

/** [B, K] patch numbers → [B·K] rows of [B·P, …]. */
function rowNumbers(tf: Tf, kept: Tensor2D, patches: number): Tensor1D {
  const starts = tf.mul(tf.range(0, kept.shape[0], 1, "int32"), tf.scalar(patches, "int32"));
  return tf.reshape(tf.add(kept, tf.expandDims(starts, 1)), [-1]) as Tensor1D;
}

/** Token numbers of what stays, the class token first: [B·(1 + K)]. */
function tokenNumbers(tf: Tf, kept: Tensor2D): Tensor1D {
  const patches = tf.add(kept, tf.scalar(1, "int32")) as Tensor2D;
  return tf.reshape(tf.concat([tf.zeros([kept.shape[0], 1], "int32") as Tensor2D, patches], 1), [-1]) as Tensor1D;
}

/** Rows of `pos_embed` [1, 1 + P, W] for the tokens that stay; a one-hot product, which has a gradient on every back end. */
function keptPositions(tf: Tf, positions: Tensor, kept?: Tensor2D): Tensor {
  if (!kept) return positions;
  const [, count, width] = positions.shape as [number, number, number];
  const chosen = tf.oneHot(tokenNumbers(tf, kept), count) as Tensor2D;
  return tf.reshape(tf.matMul(chosen, tf.reshape(positions, [count, width]) as Tensor2D), [kept.shape[0], -1, width]);
}

/** A rotary table [1, 1, 1 + P, hd] for the tokens that stay [B, 1, 1 + K, hd]. */
function keptAngles(tf: Tf, table: Tensor, kept?: Tensor2D): Tensor {
  if (!kept) return table;
  const [, , count, size] = table.shape as [number, number, number, number];
  return tf.reshape(tf.gather(tf.reshape(table, [count, size]), tokenNumbers(tf, kept)), [kept.shape[0], 1, -1, size]);
}

/** [B, 3, S, S] → [B·P, 3·p·p], patches in row-major order, pixels as the kernel [W, 3, p, p] has them. */
function patchRows(tf: Tf, pixels: Tensor4D, patch: number, grid: number): Tensor2D {
  const split = tf.reshape(pixels, [-1, 3, grid, patch, grid, patch]);
  return tf.reshape(tf.transpose(split, [0, 2, 4, 1, 3, 5]), [-1, 3 * patch * patch]) as Tensor2D;
}

/** Angles per token and channel, zero for the class token; see `rotaryAngles` of the ONNX writer for the same rule. */
function rotaryTables(tf: Tf, image: ModelConfig["image"]): { cos: Tensor; sin: Tensor } {
  const grid = image.size / image.patch;
  const half = image.headDim / 2;
  const bands = half / 2;
  const angles = new Float32Array((grid * grid + 1) * image.headDim);
  for (let row = 0; row < grid; row++) {
    for (let column = 0; column < grid; column++) {
      const base = (row * grid + column + 1) * image.headDim;
      for (let j = 0; j < half; j++) {
        const frequency = 10_000 ** (-Math.floor(j / 2) / bands);
        angles[base + j] = (row / grid) * 16 * frequency;
        angles[base + half + j] = (column / grid) * 16 * frequency;
      }
    }
  }
  const shape = [1, 1, grid * grid + 1, image.headDim];
  return { cos: tf.keep(tf.tensor(angles.map(Math.cos), shape)), sin: tf.keep(tf.tensor(angles.map(Math.sin), shape)) };
}

/** t · R = (−t1, t0, −t3, t2, …): a small product is cheaper here than slicing and interleaving. */
function rotationMatrix(tf: Tf, size: number): Tensor2D {
  const matrix = new Float32Array(size * size);
  for (let pair = 0; pair < size; pair += 2) {
    matrix[(pair + 1) * size + pair] = -1;
    matrix[pair * size + pair + 1] = 1;
  }
  return tf.keep(tf.tensor2d(matrix, [size, size]));
}
