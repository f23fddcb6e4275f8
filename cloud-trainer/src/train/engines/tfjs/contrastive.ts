/**
 * The stage `train`: both towers from captioned pictures.
 *
 * Loss = symmetric InfoNCE between pictures and distinct captions, or SigLIP's sigmoid loss (captions that are also true are
 *        no negatives)
 *      + patch cross-entropy: each patch against mean bad words minus mean good words, where masks are known.
 * The batch comes from a function, so the engine knows nothing of how pictures are made.
 */
import type { Tokenizer } from "@kenpin/clip";
import { loadBackend, type Tensor, type Tensor2D, type Tensor4D, type Tf } from "./backend.ts";
import { createImageTower, type ImageTower } from "./image-tower.ts";
import { normalise, type Weights, weight } from "./layers.ts";
import { contrastiveLoss, patchLogits, weightedCrossEntropy } from "./losses.ts";
import { gradientsOf } from "./objective.ts";
import { runStage, type StageOutcome, type StageSetup } from "./stage.ts";
import { createTextTower, type TextTower } from "./text-tower.ts";
import { toWeights } from "./weights.ts";

export type CaptionedBatch = {
  /** [B, 3, S, S], normalised. */
  pixelValues: Float32Array;
  size: number;
  /** Distinct captions, and [B, T] relations row by row. */
  captions: string[];
  positive: Float32Array;
  blocked: Float32Array;
  /** [B, K] patches that stay; null where none is dropped. */
  kept: Int32Array | null;
  /** [B·K] share of defect a patch that stays, and its weight in the loss; null where no masks are known. */
  patches: { targets: Float32Array; weights: Float32Array } | null;
};

export type ContrastiveSetup = StageSetup & {
  batchAt: (draw: number, progress: number) => CaptionedBatch | Promise<CaptionedBatch>;
  tokenizer: Tokenizer;
  words: { good: string[]; bad: string[] };
  loss: "clip" | "siglip";
  patchLoss: number;
  microBatch: number | null;
};

/** Most patches are good: without a bias of its own, that fact alone would pull every embedding one way. */
const PATCH_BIAS = "patch_bias";
const PATCH_BIAS_START = -2;

export async function trainContrastive(setup: ContrastiveSetup): Promise<StageOutcome> {
  const { tf } = await loadBackend();
  const { config, recipe } = setup;
  const weights = toWeights(tf, setup.tensors);
  weights.set(PATCH_BIAS, tf.variable(tf.scalar(PATCH_BIAS_START)));
  const towers = { image: createImageTower(tf, config, recipe), text: createTextTower(tf, config, recipe) };
  const objective = gradientsOf<CaptionedBatch>(tf, weights, (batch) => batchLoss({ tf, weights, towers, setup }, batch));
  return runStage(setup, { tf, weights, objective, batchAt: setup.batchAt });
}

type LossParts = { tf: Tf; weights: Weights; towers: { image: ImageTower; text: TextTower }; setup: ContrastiveSetup };

function batchLoss(
  { tf, weights, towers, setup: { config, tokenizer, words, patchLoss } }: LossParts,
  batch: CaptionedBatch,
): { loss: Tensor; parts: Record<string, Tensor> } {
  const side = config.image.size;
  const pixelValues = tf.tensor4d(batch.pixelValues, [batch.size, 3, side, side]) as Tensor4D;
  const kept = batch.kept && { kept: tf.tensor2d(batch.kept, [batch.size, batch.kept.length / batch.size], "int32") };
  const { imageEmbeds, patchEmbeds } = towers.image.embed(weights, pixelValues, kept ?? {});
  const texts = [...batch.captions, ...words.good, ...words.bad];
  const embedded = towers.text(weights, texts.map(tokenizer.encode));
  const [captions, good, bad] = tf.split(embedded, [batch.captions.length, words.good.length, words.bad.length], 0) as [
    Tensor2D,
    Tensor2D,
    Tensor2D,
  ];
  const scale = tf.exp(weight(weights, "logit_scale"));
  const shape: [number, number] = [batch.size, batch.captions.length];
  const relations = { positive: tf.tensor2d(batch.positive, shape), blocked: tf.tensor2d(batch.blocked, shape) };
  const contrast = contrastiveLoss(tf, imageEmbeds, captions, { scale, ...relations });
  if (!batch.patches || patchLoss === 0) return { loss: contrast, parts: {} };
  const directions = { good: normalise(tf, tf.mean(good, 0)), bad: normalise(tf, tf.mean(bad, 0)) };
  const logits = tf.add(patchLogits(tf, patchEmbeds, directions, scale), weight(weights, PATCH_BIAS));
  const patch = weightedCrossEntropy(tf, logits, tf.tensor1d(batch.patches.targets), tf.tensor1d(batch.patches.weights));
  return { loss: tf.add(contrast, tf.mul(patch, patchLoss)), parts: { contrast, patch } };
}
