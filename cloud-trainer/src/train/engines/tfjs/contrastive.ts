/**
 * The stage `train`: both towers from captioned pictures.
 *
 * Loss = symmetric InfoNCE between pictures and distinct captions, or SigLIP's sigmoid loss (captions that are also true are
 *        no negatives)
 *      + patch cross-entropy: each patch against mean bad words minus mean good words, where masks are known.
 * With micro-batches the contrast is still the whole batch's, exactly (gradient-cache.ts); patch dropout is part of the batch
 * and so the same both times a micro-batch is embedded.
 */
import type { Tokenizer } from "@kenpin/clip";
import { loadBackend, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D, type Tf } from "./backend.ts";
import { cachedGradients, type MicroBatch } from "./gradient-cache.ts";
import { createImageTower, type ImageTower } from "./image-tower.ts";
import { normalise, type Weights, weight } from "./layers.ts";
import { contrastiveLoss, patchLogits, sigmoidLoss, weightedCrossEntropy } from "./losses.ts";
import { gradientsOf, type Objective } from "./objective.ts";
import { runStage, type StageOutcome, type StageSetup } from "./stage.ts";
import { createTextTower, type TextTower } from "./text-tower.ts";
import type { Range } from "./tiled-loss.ts";
import { toWeights } from "./weights.ts";

type CaptionedBatch = {
  /** [B, 3, S, S], normalised. */
  pixelValues: Float32Array;
  size: number;
  /** T distinct captions, and which pairs of pictures and captions are positive and which are left out, [rows, columns]. */
  captions: string[];
  relations: (rows: Range, columns: Range) => { positive: Float32Array; blocked: Float32Array };
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
  /** Pictures embedded at a time; null takes the whole batch at once. */
  microBatch: number | null;
};

/** Most patches are good: without a bias of its own, that fact alone would pull every embedding one way. */
const PATCH_BIAS = "patch_bias";
const PATCH_BIAS_START = -2;
/** SigLIP's start: nearly every pair is a negative one. */
const LOGIT_BIAS = "logit_bias";
const LOGIT_BIAS_START = -10;

export async function trainContrastive(setup: ContrastiveSetup): Promise<StageOutcome> {
  const { tf } = await loadBackend();
  const { config, recipe, microBatch } = setup;
  const weights = toWeights(tf, setup.tensors);
  if (setup.patchLoss > 0) weights.set(PATCH_BIAS, tf.variable(tf.scalar(PATCH_BIAS_START)));
  if (setup.loss === "siglip") weights.set(LOGIT_BIAS, tf.variable(tf.scalar(LOGIT_BIAS_START)));
  const towers = { image: createImageTower(tf, config, recipe), text: createTextTower(tf, config, recipe) };
  const parts = { tf, weights, towers, setup };
  const whole = gradientsOf<CaptionedBatch>(tf, weights, (batch) => batchLoss(parts, batch));
  const objective: Objective<CaptionedBatch> = (batch) =>
    microBatch === null || batch.size <= microBatch ? whole(batch) : inMicroBatches(parts, batch, microBatch);
  return runStage(setup, { tf, weights, objective, batchAt: setup.batchAt });
}

type Parts = { tf: Tf; weights: Weights; towers: { image: ImageTower; text: TextTower }; setup: ContrastiveSetup };

function batchLoss(parts: Parts, batch: CaptionedBatch): { loss: Tensor; parts: Record<string, Tensor> } {
  const { tf, weights, setup } = parts;
  const seen = lookAt(parts, batch, { from: 0, to: batch.size });
  // One pass of the text tower for captions and words.
  const words = wordsOf(setup);
  const embedded = embedTexts(parts, [...batch.captions, ...words]);
  const [captions, wordEmbeds] = tf.split(embedded, [batch.captions.length, words.length], 0) as [Tensor2D, Tensor2D];
  const scale = tf.exp(weight(weights, "logit_scale"));
  const relations = toTensors(tf, batch, { from: 0, to: batch.size }, { from: 0, to: batch.captions.length });
  const contrast =
    setup.loss === "siglip"
      ? sigmoidLoss(tf, seen.imageEmbeds, captions, { scale, bias: weight(weights, LOGIT_BIAS), ...relations })
      : contrastiveLoss(tf, seen.imageEmbeds, captions, { scale, ...relations });
  if (!batch.patches || setup.patchLoss === 0) return { loss: contrast, parts: {} };
  const patch = patchLoss(parts, seen.patchEmbeds, wordEmbeds, batch.patches);
  return { loss: tf.add(contrast, tf.mul(patch, setup.patchLoss)), parts: { contrast, patch } };
}

function inMicroBatches(parts: Parts, batch: CaptionedBatch, pictures: number) {
  const { tf, weights, setup } = parts;
  const microBatches = Math.ceil(batch.size / pictures);
  const rangeOf = (index: number, count: number): Range => ({
    from: Math.floor((index * count) / microBatches),
    to: Math.floor(((index + 1) * count) / microBatches),
  });
  const { patches } = batch;
  const known = patches && setup.patchLoss > 0 ? patches.weights.reduce((sum, value) => sum + value, 0) : 0;
  const embed = (index: number): MicroBatch => {
    const rows = rangeOf(index, batch.size);
    const columns = rangeOf(index, batch.captions.length);
    const seen = lookAt(parts, batch, rows);
    const text = columns.to > columns.from ? embedTexts(parts, batch.captions.slice(columns.from, columns.to)) : null;
    if (!patches || known === 0) return { image: seen.imageEmbeds, text };
    const perPicture = patches.targets.length / batch.size;
    const part = (all: Float32Array) => all.subarray(rows.from * perPicture, rows.to * perPicture);
    const own = { targets: part(patches.targets), weights: part(patches.weights) };
    // Of the mean over the whole batch, this micro-batch's share.
    const share = (setup.patchLoss * own.weights.reduce((sum, value) => sum + value, 0)) / known;
    const local = () => tf.mul(patchLoss(parts, seen.patchEmbeds, embedTexts(parts, wordsOf(setup)), own), share);
    return { image: seen.imageEmbeds, text, local };
  };
  return cachedGradients(tf, weights, {
    microBatches,
    embed,
    relations: (rows, columns) => toTensors(tf, batch, rows, columns),
    kind: setup.loss === "siglip" ? "sigmoid" : "infonce",
    scale: () => tf.exp(weight(weights, "logit_scale")),
    ...(setup.loss === "siglip" && { bias: () => weight(weights, LOGIT_BIAS) }),
  });
}

function lookAt({ tf, weights, towers, setup: { config } }: Parts, batch: CaptionedBatch, { from, to }: Range) {
  const side = config.image.size;
  const part = <A extends Float32Array | Int32Array>(all: A) => {
    const each = all.length / batch.size;
    return all.subarray(from * each, to * each) as A;
  };
  const pixelValues = tf.tensor4d(part(batch.pixelValues), [to - from, 3, side, side]) as Tensor4D;
  if (!batch.kept) return towers.image.embed(weights, pixelValues);
  return towers.image.embed(weights, pixelValues, {
    kept: tf.tensor2d(part(batch.kept), [to - from, batch.kept.length / batch.size], "int32"),
  });
}

function embedTexts({ weights, towers, setup: { tokenizer } }: Parts, texts: readonly string[]): Tensor2D {
  return towers.text(weights, texts.map(tokenizer.encode));
}

function wordsOf({ words }: ContrastiveSetup): string[] {
  return [...words.good, ...words.bad];
}

function patchLoss(
  { tf, weights, setup: { words } }: Parts,
  patchEmbeds: Tensor2D,
  wordEmbeds: Tensor2D,
  { targets, weights: shares }: { targets: Float32Array; weights: Float32Array },
): Tensor {
  const [good, bad] = tf.split(wordEmbeds, [words.good.length, words.bad.length], 0) as [Tensor2D, Tensor2D];
  const directions = { good: normalise(tf, tf.mean(good, 0)), bad: normalise(tf, tf.mean(bad, 0)) };
  const scale = tf.exp(weight(weights, "logit_scale"));
  const logits = tf.add(patchLogits(tf, patchEmbeds, directions, scale), weight(weights, PATCH_BIAS));
  return weightedCrossEntropy(tf, logits as Tensor1D, tf.tensor1d(targets), tf.tensor1d(shares));
}

function toTensors(tf: Tf, { relations }: CaptionedBatch, rows: Range, columns: Range): { positive: Tensor2D; blocked: Tensor2D } {
  const shape: [number, number] = [rows.to - rows.from, columns.to - columns.from];
  const { positive, blocked } = relations(rows, columns);
  return { positive: tf.tensor2d(positive, shape), blocked: tf.tensor2d(blocked, shape) };
}
