/**
 * What a model costs: forward GFLOPs a picture and a caption (a multiply and an add are two), the paper's measure of
 * training compute being forward GFLOPs × samples. EVA02-CLIP-B/16 has 41.09 for one pair (arXiv 2303.15389, table 4).
 */
import type { ModelConfig } from "@kenpin/clip";

/** `keptRatio`: share of patches that patch dropout leaves. */
export function imageGflops({ image, embedDim }: ModelConfig, keptRatio = 1): number {
  const { width, depth, mlpHidden, patch } = image;
  const patches = (image.size / patch) ** 2;
  const tokens = 1 + Math.round(patches * keptRatio);
  const perToken = 4 * width ** 2 + (image.mlp === "swiglu" ? 3 : 2) * width * mlpHidden;
  const blocks = depth * (tokens * perToken + 2 * tokens ** 2 * width);
  return (2 * (blocks + patches * 3 * patch ** 2 * width + width * embedDim)) / 1e9;
}

export function textGflops({ text, embedDim }: ModelConfig): number {
  const { width, layers, context } = text;
  const blocks = layers * (context * 12 * width ** 2 + 2 * context ** 2 * width);
  return (2 * (blocks + width * embedDim)) / 1e9;
}

/**
 * Bytes a training step holds, roughly: weights with gradient and two moments, and what the backward pass of each block
 * keeps of every token. With recomputation only the blocks' inputs stay, and one block's insides.
 */
export function trainingBytes(
  config: ModelConfig,
  { pictures, captions, recompute }: { pictures: number; captions: number; recompute: boolean },
) {
  const { image, text } = config;
  const patches = (image.size / image.patch) ** 2;
  const held = (rows: number, width: number, hidden: number, depth: number) => {
    const inside = rows * (12 * width + 5 * hidden);
    return recompute ? rows * width * depth + inside : inside * depth;
  };
  const activations =
    held(pictures * (patches + 1), image.width, image.mlpHidden, image.depth) +
    held(captions * text.context, text.width, 4 * text.width, text.layers);
  return 4 * (4 * parametersOf(config) + activations);
}

function parametersOf({ image, text, embedDim }: ModelConfig): number {
  const imageBlock = 4 * image.width ** 2 + (image.mlp === "swiglu" ? 3 : 2) * image.width * image.mlpHidden;
  const words = (512 + text.merges + 2) * text.width;
  return image.depth * imageBlock + text.layers * 12 * text.width ** 2 + words + (image.width + text.width) * embedDim;
}
