/**
 * Weights as tfjs variables: drawn afresh, taken from tensors, and back into tensors.
 * Initial values as open_clip's and timm's: truncated-normal-like 0.02 for products and positions, ones and zeros for norms.
 */
import { type ModelConfig, type Tensor as PlainTensor, tensorShapes } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";
import type { Tensor, Tf } from "./backend.ts";
import type { Weights } from "./layers.ts";

const LOGIT_SCALE_START = Math.log(1 / 0.07);

export function drawTensors(config: ModelConfig, seed: number): Map<string, PlainTensor> {
  const random = createRandom(seed);
  const tensors = new Map<string, PlainTensor>();
  for (const [name, shape] of tensorShapes(config)) {
    const size = shape.reduce((product, n) => product * n, 1);
    tensors.set(name, { shape, data: new Float32Array(size).map(startValue(name, shape, config, random.normal)) });
  }
  return tensors;
}

function startValue(name: string, shape: number[], config: ModelConfig, normal: () => number): () => number {
  if (name === "logit_scale") return () => LOGIT_SCALE_START;
  if (/(norm\d?|ln_\d|ln_final|attn\.norm)\.weight$/.test(name)) return () => 1;
  if (/bias$/.test(name)) return () => 0;
  if (name === "text.positional_embedding") return () => normal() * 0.01;
  if (name === "text.text_projection") return () => normal() * config.text.width ** -0.5;
  const fanIn = shape.length > 1 ? shape.slice(1).reduce((product, n) => product * n, 1) : 1;
  const spread = name.includes("_embed") || name.includes("token") ? 0.02 : Math.min(0.05, fanIn ** -0.5 * 0.6);
  return () => normal() * spread;
}

/** Variables of the given tensors; only those whose name passes `trained` will get gradients. */
export function toWeights(tf: Tf, tensors: ReadonlyMap<string, PlainTensor>, trained: (name: string) => boolean = () => true): Weights {
  const weights: Weights = new Map();
  for (const [name, { shape, data }] of tensors) {
    // the variable holds the same memory; the tensor it began with would keep it when the variable has moved on
    const start = tf.tensor(data, shape);
    weights.set(name, tf.variable(start, trained(name)));
    start.dispose();
  }
  return weights;
}

export function toTensors(weights: Weights): Map<string, PlainTensor> {
  const tensors = new Map<string, PlainTensor>();
  for (const [name, variable] of weights)
    tensors.set(name, { shape: variable.shape, data: Float32Array.from(variable.dataSync() as Float32Array) });
  return tensors;
}

/** Normal numbers of the given spread; a weight of training alone, which no checkpoint brings. */
export function randomTensor(tf: Tf, shape: number[], spread: number, seed: number): Tensor {
  const { normal } = createRandom(seed);
  const size = shape.reduce((product, n) => product * n, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, () => normal() * spread),
    shape,
  );
}
