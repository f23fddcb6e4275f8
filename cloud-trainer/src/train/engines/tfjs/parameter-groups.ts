/**
 * Which share of the learning rate each parameter gets, and which have weight decay: the groups of the released EVA-CLIP
 * recipe. Image tower, text tower and the rest have rates of their own; inside a tower the rate falls with the distance
 * from the output: id 0 for all embeddings, i + 1 for block i, n + 1 for what comes after n blocks;
 * share = decay^(n + 1 − id).
 * In: open_clip's parameter names. Out: factors of a step's rate.
 */
import { type ModelConfig, tensorShapes } from "@kenpin/clip";

export type Tower = "image" | "text" | "other";

type ShareOptions = {
  config: ModelConfig;
  /** Rate of each tower as a factor of the step's rate. */
  rates: Record<Tower, number>;
  /** Layer decay of each tower; 1 gives every layer the same rate. */
  layerDecay: { image: number; text: number };
  /** Further factor for the model's own parameters without weight decay; the released recipe has 1. */
  plain?: number;
};

/**
 * Norms, biases and positions have no trust ratio in LAMB, so a rate that suits matrices would throw them about: on small
 * models all embeddings point one way within twenty steps. They get this share of the rate.
 */
export const PLAIN_RATE = 0.1;

export function towerOf(name: string): Tower {
  if (name.startsWith("visual.")) return "image";
  return name.startsWith("text.") ? "text" : "other";
}

/** A parameter the configuration does not know (a head that only training needs) gets the rate of `other`, whole. */
export function parameterShare({ config, rates, layerDecay, plain = 1 }: ShareOptions): (name: string) => number {
  const shapes = tensorShapes(config);
  const layers = { image: config.image.depth, text: config.text.layers };
  return (name) => {
    const tower = towerOf(name);
    const shape = shapes.get(name);
    const own = rates[tower] * (shape && !hasDecay(name, shape) ? plain : 1);
    if (tower === "other") return own;
    return own * layerDecay[tower] ** (layers[tower] + 1 - layerId(name, layers[tower]));
  };
}

/** 0 for patch, class token, position and token embeddings; i + 1 for block i; n + 1 for the rest of the tower. */
function layerId(name: string, layers: number): number {
  if (/patch_embed|pos_embed|cls_token|positional_embedding|token_embedding/.test(name)) return 0;
  const block = /blocks\.(\d+)\./.exec(name)?.[1];
  return block === undefined ? layers + 1 : Number(block) + 1;
}

/** No decay for norms, biases, positions, the class token and the logit scale (the released recipe's rule). */
export function hasDecay(name: string, shape: readonly number[]): boolean {
  return shape.length > 1 && !/(bias|pos_embed|positional_embedding|cls_token|logit_scale)$/.test(name);
}
