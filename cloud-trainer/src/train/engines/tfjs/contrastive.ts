/**
 * The stage `train`: both towers from captioned pictures with masks.
 *
 * Loss = symmetric InfoNCE between pictures and distinct captions (captions that are also true are no negatives)
 *      + patch cross-entropy: each patch against mean bad words minus mean good words, on the masks.
 * The batch comes from a function, so the engine knows nothing of how pictures are made.
 */
import type { ModelConfig, Tensor as PlainTensor, Tokenizer } from "@kenpin/clip";
import { loadBackend, type Tensor, type Tensor2D, type Tensor4D, type Tf } from "./backend.ts";
import { createImageTower } from "./image-tower.ts";
import { normalise, type Weights, weight } from "./layers.ts";
import { contrastiveLoss, patchLogits, weightedCrossEntropy } from "./losses.ts";
import { createOptimizer } from "./optimizer.ts";
import { hasDecay, PLAIN_RATE } from "./parameter-groups.ts";
import { type Budget, runSteps, type StepFigures } from "./steps.ts";
import { createTextTower } from "./text-tower.ts";
import { toTensors, toWeights } from "./weights.ts";

type CaptionedBatch = {
  /** [B, 3, S, S], normalised. */
  pixelValues: Float32Array;
  size: number;
  /** Distinct captions, and [B, T] relations row by row. */
  captions: string[];
  positive: Float32Array;
  blocked: Float32Array;
  /** [B·P] share of defect a patch, and its weight in the loss. */
  patchTargets: Float32Array;
  patchWeights: Float32Array;
};

export type ContrastiveOptions = Budget & {
  config: ModelConfig;
  tensors: ReadonlyMap<string, PlainTensor>;
  tokenizer: Tokenizer;
  nextBatch: () => CaptionedBatch;
  words: { good: string[]; bad: string[] };
  onCheckpoint?: (tensors: Map<string, PlainTensor>, step: number) => void;
  checkpointEvery?: number;
};

export type ContrastiveResult = StepFigures & { tensors: Map<string, PlainTensor>; backend: string };

export async function trainContrastive(options: ContrastiveOptions): Promise<ContrastiveResult> {
  const { tf, name: backend } = await loadBackend();
  const weights = toWeights(tf, options.tensors);
  const towers = { image: createImageTower(tf, options.config), text: createTextTower(tf, options.config) };
  weights.set(PATCH_BIAS, tf.variable(tf.scalar(PATCH_BIAS_START)));
  const optimizer = createOptimizer(tf, weights, { name: "lamb" }, (name) => rateShare(name, weights.get(name)?.shape ?? []));
  const figures = await runSteps({ tf, weights, optimizer }, options, {
    nextBatch: options.nextBatch,
    loss: (batch) => batchLoss(tf, weights, towers, options, batch),
    after: (step) => {
      if (!options.checkpointEvery || step % options.checkpointEvery !== 0) return;
      const tensors = toTensors(weights);
      tensors.delete(PATCH_BIAS);
      options.onCheckpoint?.(tensors, step);
    },
  });
  const tensors = toTensors(weights);
  tensors.delete(PATCH_BIAS);
  return { tensors, ...figures, backend };
}

/** Most patches are good: without a bias of its own, that fact alone would pull every embedding one way. */
const PATCH_BIAS = "patch_bias";
const PATCH_BIAS_START = -2;
/** The text tower learns at a tenth of the image tower's rate, as in the released recipe (2e-5 against 2e-4). */
const TEXT_RATE = 0.1;

function rateShare(name: string, shape: readonly number[]): number {
  if (name === PATCH_BIAS) return 1;
  return (name.startsWith("text.") ? TEXT_RATE : 1) * (hasDecay(name, shape) ? 1 : PLAIN_RATE);
}

type Towers = { image: ReturnType<typeof createImageTower>; text: ReturnType<typeof createTextTower> };

function batchLoss(
  tf: Tf,
  weights: Weights,
  towers: Towers,
  { config, tokenizer, words }: ContrastiveOptions,
  batch: CaptionedBatch,
): Tensor {
  const side = config.image.size;
  const { imageEmbeds, patchEmbeds } = towers.image.embed(weights, tf.tensor4d(batch.pixelValues, [batch.size, 3, side, side]) as Tensor4D);
  const texts = [...batch.captions, ...words.good, ...words.bad];
  const embedded = towers.text(weights, texts.map(tokenizer.encode));
  const [captions, good, bad] = tf.split(embedded, [batch.captions.length, words.good.length, words.bad.length], 0) as [
    Tensor2D,
    Tensor2D,
    Tensor2D,
  ];
  const scale = tf.exp(weight(weights, "logit_scale"));
  const shape: [number, number] = [batch.size, batch.captions.length];
  const contrast = contrastiveLoss(tf, imageEmbeds, captions, {
    scale,
    positive: tf.tensor2d(batch.positive, shape),
    blocked: tf.tensor2d(batch.blocked, shape),
  });
  const directions = { good: normalise(tf, tf.mean(good, 0)), bad: normalise(tf, tf.mean(bad, 0)) };
  const logits = tf.add(patchLogits(tf, patchEmbeds, directions, scale), weight(weights, PATCH_BIAS));
  const patches = weightedCrossEntropy(tf, logits, tf.tensor1d(batch.patchTargets), tf.tensor1d(batch.patchWeights));
  return tf.add(contrast, tf.mul(patches, 2));
}
