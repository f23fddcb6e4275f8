/** The smallest models of the family that still have every part: rotary positions, sub-norm, SwiGLU, causal text. */
import type { ModelConfig } from "@kenpin/clip";

type Changes = { name: string; embedDim?: number; image?: Partial<ModelConfig["image"]>; text?: Partial<ModelConfig["text"]> };

export function smallConfig({ name, embedDim = 16, image, text }: Changes): ModelConfig {
  return {
    name,
    embedDim,
    image: {
      size: 16,
      patch: 8,
      width: 32,
      depth: 1,
      headDim: 16,
      mlp: "swiglu",
      mlpHidden: 48,
      subNorm: true,
      rotary: true,
      norm: "pre",
      normEps: 1e-6,
      ...image,
    },
    text: { width: 32, heads: 2, layers: 1, context: 6, merges: 0, ...text },
    preprocess: { mean: [0, 0, 0], std: [1, 1, 1] },
  };
}
