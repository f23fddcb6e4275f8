/**
 * The stage `tune`: the image tower learns a site's own frames; the text tower stays as it is, so words keep their meaning
 * (as LiT does, Zhai et al. 2021, arXiv 2111.07991).
 *
 * Loss = symmetric InfoNCE between pictures with known state and words (the bundle's words, and captions of the replay)
 *      + patch cross-entropy on the masks of synthetic defects, and on good frames, whose patches are all good
 *      + frame cross-entropy of the very logit a device will decide by: a frame called bad has its defect somewhere.
 * The last is the generalized cross-entropy (arXiv 1805.07836), which a wrong label pulls less the surer the model is.
 */
import type { Tokenizer } from "@kenpin/clip";
import { loadBackend, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D, type Tf } from "./backend.ts";
import { createImageTower, type ImageTower } from "./image-tower.ts";
import { normalise, type Weights, weight } from "./layers.ts";
import { contrastiveLoss, meanOfTop, patchLogits, weightedCrossEntropy } from "./losses.ts";
import { gradientsOf } from "./objective.ts";
import { runStage, type StageOutcome, type StageSetup } from "./stage.ts";
import { createTextTower } from "./text-tower.ts";
import { toWeights } from "./weights.ts";

export type TuneSetup = StageSetup & {
  batchAt: (draw: number) => Promise<TuneBatch>;
  tokenizer: Tokenizer;
  words: { good: string[]; bad: string[] };
  /** How a frame's logit is made of its patches and tiles; see `Scoring` of the bundle's manifest. */
  scoring: { topRatio: number; imageWeight: number };
  noiseTolerance: number;
};

/** Three kinds of pictures in one batch; how they are drawn is not this engine's business. */
type TuneBatch = {
  /** Pictures with masks: `crops` of the site's good frames (some with a painted defect), then captioned replay. */
  masked: {
    pixelValues: Float32Array;
    size: number;
    patchTargets: Float32Array;
    patchWeights: Float32Array;
    crops: number;
    cropIsBad: boolean[];
    replay: { captions: string[]; positive: Float32Array; blocked: Float32Array };
  };
  /** `count` whole frames of `tiles` tiles each; of a bad one only its label is known. */
  frames: { pixelValues: Float32Array; count: number; tiles: number; isBad: boolean[] };
  /** Pictures in all. */
  size: number;
};

const BIAS = "frame_bias";
/** The frame's bias is a logit and moves in whole units. */
const BIAS_SHARE = 3;
/** Weights of the loss's three parts. */
const CONTRAST = 0.5;
const PATCH = 1;
const FRAME = 2;
/** A good frame has a thousand good patches for every defective one that a mask shows. */
const GOOD_FRAME_PATCH_WEIGHT = 0.25;

/** The outcome's `textBias` is what a device adds to a frame's logit. */
export async function trainTune(setup: TuneSetup): Promise<StageOutcome & { textBias: number }> {
  const { tf } = await loadBackend();
  const { config, words } = setup;
  const weights = toWeights(tf, setup.tensors, (name) => !name.startsWith("text."));
  weights.set(BIAS, tf.variable(tf.scalar(0)));
  const imageTower = createImageTower(tf, config, { recompute: setup.recipe.recompute });
  const textTower = createTextTower(tf, config);
  const embed = captionEmbedder(tf, (texts) => textTower(weights, texts.map(setup.tokenizer.encode)));
  const wordEmbeds = tf.keep(embed([...words.good, ...words.bad]));
  const parts: LossParts = { tf, weights, imageTower, wordEmbeds, words, embed, setup };
  weights.get(BIAS)?.assign(tf.scalar(startingBias(parts, await setup.batchAt(0))) as never);
  const objective = gradientsOf<TuneBatch>(tf, weights, (batch) => batchLoss(parts, batch));
  const share = (name: string) => (name === BIAS ? BIAS_SHARE : 1);
  const outcome = await runStage(setup, { tf, weights, objective, batchAt: setup.batchAt, share });
  wordEmbeds.dispose();
  return { ...outcome, textBias: outcome.extra.get(BIAS)?.data[0] as number };
}

type LossParts = {
  tf: Tf;
  weights: Weights;
  imageTower: ImageTower;
  wordEmbeds: Tensor2D;
  words: TuneSetup["words"];
  embed: (texts: string[]) => Tensor2D;
  setup: TuneSetup;
};

/** A site's frames lie anywhere on the words' scale: the first steps should not be spent on moving all of them. */
function startingBias({ tf, weights, imageTower, wordEmbeds, words, setup }: LossParts, { frames }: TuneBatch): number {
  return tf.tidy(() => {
    const side = setup.config.image.size;
    const seen = imageTower.embed(weights, tf.tensor4d(frames.pixelValues, [frames.count * frames.tiles, 3, side, side]));
    const scale = tf.exp(weight(weights, "logit_scale"));
    const directions = wordDirections(tf, wordEmbeds, words);
    const patches = patchLogits(tf, seen.patchEmbeds, directions, scale) as Tensor1D;
    const images = patchLogits(tf, seen.imageEmbeds, directions, scale) as Tensor1D;
    return -(tf.mean(frameLogits(tf, patches, images, frames, setup.scoring)).dataSync()[0] as number);
  });
}

function wordDirections(tf: Tf, wordEmbeds: Tensor2D, words: TuneSetup["words"]): { good: Tensor; bad: Tensor } {
  const [good, bad] = tf.split(wordEmbeds, [words.good.length, words.bad.length], 0) as [Tensor2D, Tensor2D];
  return { good: normalise(tf, tf.mean(good, 0)), bad: normalise(tf, tf.mean(bad, 0)) };
}

/** One pass of the image tower over all pictures of the batch; what belongs to which kind is sliced out afterwards. */
function batchLoss(parts: LossParts, { masked, frames }: TuneBatch): { loss: Tensor; parts: Record<string, Tensor> } {
  const { tf, weights, imageTower, wordEmbeds, words, setup } = parts;
  const side = setup.config.image.size;
  const tiles = frames.count * frames.tiles;
  const pixels = tf.concat([
    tf.tensor4d(masked.pixelValues, [masked.size, 3, side, side]),
    tf.tensor4d(frames.pixelValues, [tiles, 3, side, side]),
  ]) as Tensor4D;
  const { imageEmbeds, patchEmbeds } = imageTower.embed(weights, pixels);
  const scale = tf.exp(weight(weights, "logit_scale"));
  const directions = wordDirections(tf, wordEmbeds, words);
  const patches = patchLogits(tf, patchEmbeds, directions, scale) as Tensor1D;
  const images = patchLogits(tf, imageEmbeds, directions, scale) as Tensor1D;
  const perPicture = patches.shape[0] / (masked.size + tiles);
  const [maskedPatches, framePatches] = tf.split(patches, [masked.size * perPicture, tiles * perPicture]) as [Tensor1D, Tensor1D];
  const [maskedEmbeds] = tf.split(imageEmbeds, [masked.size, tiles]) as [Tensor2D, Tensor2D];
  const [, frameImages] = tf.split(images, [masked.size, tiles]) as [Tensor1D, Tensor1D];

  const contrast = contrastOverWords(parts, maskedEmbeds, scale, masked);
  const onMasks = weightedCrossEntropy(tf, maskedPatches, tf.tensor1d(masked.patchTargets), tf.tensor1d(masked.patchWeights));
  const onGoodFrames = goodFramePatches(tf, framePatches, frames);
  const whole = frameLogits(tf, framePatches, frameImages, frames, setup.scoring);
  const target = tf.tensor1d(frames.isBad.map(Number));
  const frame = tolerantCrossEntropy(tf, tf.add(whole, weight(weights, BIAS)), target, setup.noiseTolerance);
  const patch = tf.add(onMasks, tf.mul(onGoodFrames, GOOD_FRAME_PATCH_WEIGHT));
  const loss = tf.addN([tf.mul(contrast, CONTRAST), tf.mul(patch, PATCH), tf.mul(frame, FRAME)]);
  return { loss, parts: { contrast, patch, frame } };
}

/**
 * Columns: the bundle's good and bad words, then the replay's captions. A crop is positive for every word of its state and
 * says nothing of captions written for generated surfaces; a replayed surface the other way round.
 */
function contrastOverWords(
  { tf, words, wordEmbeds, embed }: LossParts,
  images: Tensor2D,
  scale: Tensor,
  masked: TuneBatch["masked"],
): Tensor {
  const { crops, cropIsBad, replay, size } = masked;
  const [wordCount, captionCount] = [words.good.length + words.bad.length, replay.captions.length];
  const columns = wordCount + captionCount;
  const positive = new Float32Array(size * columns);
  const blocked = new Float32Array(size * columns).fill(1);
  for (let i = 0; i < crops; i++) {
    for (let j = 0; j < wordCount; j++) {
      positive[i * columns + j] = Number(j >= words.good.length === cropIsBad[i]);
      blocked[i * columns + j] = 0;
    }
  }
  for (let i = 0; i < size - crops; i++) {
    for (let j = 0; j < captionCount; j++) {
      const [to, from] = [(crops + i) * columns + wordCount + j, i * captionCount + j];
      positive[to] = replay.positive[from] as number;
      blocked[to] = replay.blocked[from] as number;
    }
  }
  const texts = captionCount > 0 ? (tf.concat([wordEmbeds, embed(replay.captions)]) as Tensor2D) : wordEmbeds;
  const shape: [number, number] = [size, columns];
  return contrastiveLoss(tf, images, texts, { scale, positive: tf.tensor2d(positive, shape), blocked: tf.tensor2d(blocked, shape) });
}

function goodFramePatches(tf: Tf, logits: Tensor1D, { count, isBad }: TuneBatch["frames"]): Tensor {
  const perFrame = logits.shape[0] / count;
  const weights = tf.reshape(tf.tile(tf.reshape(tf.tensor1d(isBad.map((bad) => Number(!bad))), [count, 1]), [1, perFrame]), [-1]);
  return weightedCrossEntropy(tf, logits, tf.zerosLike(logits), weights);
}

/** (1 − imageWeight) · mean of a frame's hottest patches + imageWeight · mean of its tiles: as the device computes it. */
function frameLogits(
  tf: Tf,
  patches: Tensor1D,
  images: Tensor1D,
  { count, tiles }: TuneBatch["frames"],
  { topRatio, imageWeight }: TuneSetup["scoring"],
): Tensor {
  const perFrame = patches.shape[0] / count;
  const top = meanOfTop(tf, tf.reshape(patches, [count, perFrame]) as Tensor2D, Math.max(1, Math.round(perFrame * topRatio)));
  const image = tf.mean(tf.reshape(images, [count, tiles]), 1);
  return tf.add(tf.mul(top, 1 - imageWeight), tf.mul(image, imageWeight));
}

/**
 * Generalized cross-entropy (Zhang and Sabuncu 2018, arXiv 1805.07836) of two-way labels: mean of (1 − p^q) / q, p the
 * probability of the label given. Its gradient is p^q times cross-entropy's, so a label the model is sure is wrong pulls little.
 */
export function tolerantCrossEntropy(tf: Tf, logits: Tensor, target: Tensor, tolerance: number): Tensor {
  const surprise = tf.softplus(tf.mul(logits, tf.sub(1, tf.mul(target, 2)))); // −ln p
  if (tolerance === 0) return tf.mean(surprise);
  return tf.mean(tf.div(tf.sub(1, tf.exp(tf.mul(surprise, -tolerance))), tolerance));
}

/** Embeddings of captions by a text tower that no longer changes: each caption once. */
function captionEmbedder(tf: Tf, embedFresh: (texts: string[]) => Tensor2D): (texts: string[]) => Tensor2D {
  const known = new Map<string, Float32Array>();
  return (texts) => {
    const fresh = [...new Set(texts)].filter((text) => !known.has(text));
    if (fresh.length > 0) {
      const rows = tf.tidy(() => embedFresh(fresh).dataSync() as Float32Array);
      const dim = rows.length / fresh.length;
      for (const [i, text] of fresh.entries()) known.set(text, rows.slice(i * dim, (i + 1) * dim));
    }
    const all = texts.map((text) => known.get(text) as Float32Array);
    return tf.tensor2d(Float32Array.from(all.flatMap((row) => [...row])), [texts.length, all[0]?.length ?? 0]);
  };
}
