/**
 * EVA-02's image tower (arXiv 2303.11331, 2303.15389): patches → tokens with absolute and rotary positions → pre-norm
 * blocks of attention with a norm before its output product, and SwiGLU with a norm inside → norm → head.
 * In: `pixel_values` [B, 3, S, S]. Out: `image_embeds` [B, D] and `patch_embeds` [B·P, D], both of length 1.
 */
import type { ModelConfig } from "@kenpin/clip";
import type { Tensor, Tensor2D, Tensor3D, Tensor4D, Tf } from "./backend.ts";
import { layerNorm, linear, normalise, siluGate, type Weights, weight } from "./layers.ts";

export type ImageTower = (weights: Weights, pixelValues: Tensor4D) => { imageEmbeds: Tensor2D; patchEmbeds: Tensor2D };

/** Builds the tower's function; the rotary tables are constants of the configuration and made once. */
export function createImageTower(tf: Tf, { image }: ModelConfig): ImageTower {
  if (image.mlp !== "swiglu" || !image.subNorm || image.norm !== "pre")
    throw new RangeError("this engine trains EVA-02's B and L kind of block");
  const rotary = rotaryTables(tf, image);
  const turn = rotationMatrix(tf, image.headDim);
  const grid = image.size / image.patch;
  const tokens = grid * grid + 1;
  const heads = image.width / image.headDim;

  const attention = (weights: Weights, name: string, x: Tensor2D, batch: number): Tensor2D => {
    const project = (part: string, rotate: boolean) => {
      const projected = tf.transpose(
        tf.reshape(linear(tf, x, weights, `${name}.${part}_proj`), [batch, tokens, heads, image.headDim]),
        [0, 2, 1, 3],
      );
      if (!rotate || !image.rotary) return projected;
      const turned = tf.reshape(tf.matMul(tf.reshape(projected, [-1, image.headDim]) as Tensor2D, turn), projected.shape);
      return tf.add(tf.mul(projected, rotary.cos), tf.mul(turned, rotary.sin));
    };
    const scores = tf.mul(tf.matMul(project("q", true), project("k", true), false, true), image.headDim ** -0.5);
    const mixed = tf.matMul(tf.softmax(scores), project("v", false));
    const joined = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * tokens, image.width]) as Tensor2D;
    return linear(tf, layerNorm(tf, joined, weights, `${name}.norm`, image.normEps), weights, `${name}.proj`);
  };

  const mlp = (weights: Weights, name: string, x: Tensor2D): Tensor2D => {
    const gated = siluGate(tf, linear(tf, x, weights, `${name}.fc1_g`), linear(tf, x, weights, `${name}.fc1_x`));
    return linear(tf, layerNorm(tf, gated, weights, `${name}.norm`, image.normEps), weights, `${name}.fc2`);
  };

  return (weights, pixelValues) => {
    const batch = pixelValues.shape[0];
    const trunk = "visual.trunk.";
    // 1. patches to tokens: a product over the pixels of each patch
    const patches = patchRows(tf, pixelValues, image.patch, grid);
    const kernel = tf.reshape(weight(weights, `${trunk}patch_embed.proj.weight`), [image.width, -1]) as Tensor2D;
    const embedded = tf.add(tf.matMul(patches, kernel, false, true), weight(weights, `${trunk}patch_embed.proj.bias`));
    const cls = tf.tile(weight(weights, `${trunk}cls_token`) as unknown as Tensor3D, [batch, 1, 1]);
    const sequence = tf.concat([cls, tf.reshape(embedded, [batch, grid * grid, image.width]) as Tensor3D], 1);
    // 2. absolute positions, then the blocks
    let x = tf.reshape(tf.add(sequence, weight(weights, `${trunk}pos_embed`)), [batch * tokens, image.width]) as Tensor2D;
    for (let i = 0; i < image.depth; i++) {
      const block = `${trunk}blocks.${i}`;
      x = tf.add(x, attention(weights, `${block}.attn`, layerNorm(tf, x, weights, `${block}.norm1`, image.normEps), batch));
      x = tf.add(x, mlp(weights, `${block}.mlp`, layerNorm(tf, x, weights, `${block}.norm2`, image.normEps)));
    }
    // 3. norm and head for every token: the class token is the image, the rest are its patches
    const out = linear(tf, layerNorm(tf, x, weights, `${trunk}norm`, image.normEps), weights, `${trunk}head`);
    const all = tf.reshape(normalise(tf, out), [batch, tokens, -1]) as Tensor3D;
    const dim = all.shape[2];
    return {
      imageEmbeds: tf.reshape(tf.slice(all, [0, 0, 0], [batch, 1, dim]), [batch, dim]) as Tensor2D,
      patchEmbeds: tf.reshape(tf.slice(all, [0, 1, 0], [batch, tokens - 1, dim]), [batch * (tokens - 1), dim]) as Tensor2D,
    };
  };
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
