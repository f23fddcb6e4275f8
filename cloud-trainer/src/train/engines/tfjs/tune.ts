/**
 * The stage `tune`: the image tower learns a site's own frames; the text tower stays as it is, so words keep their meaning
 * (as LiT does, Zhai et al. 2021, arXiv 2111.07991).
 *
 * Loss = symmetric InfoNCE between pictures with known state and words (the bundle's words, and captions of the replay)
 *      + patch cross-entropy on the masks of synthetic defects, and on good frames, whose patches are all good
 *      + frame cross-entropy of the very logit a device will decide by: a frame called bad has its defect somewhere.
 */
import type { ModelConfig, Tensor as PlainTensor, Tokenizer } from "@kenpin/clip";
import { loadBackend, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D, type Tf } from "./backend.ts";
import { createImageTower, type ImageTower } from "./image-tower.ts";
import { normalise, type Weights, weight } from "./layers.ts";
import { contrastiveLoss, meanOfTop, patchLogits, weightedCrossEntropy } from "./losses.ts";
import { createOptimizer } from "./optimizer.ts";
import { hasDecay, PLAIN_RATE } from "./parameter-groups.ts";
import { type Budget, runSteps, type StepFigures } from "./steps.ts";
import { createTextTower } from "./text-tower.ts";
import { toTensors, toWeights } from "./weights.ts";

export type TuneOptions = Budget & {
  config: ModelConfig;
  tensors: ReadonlyMap<string, PlainTensor>;
  tokenizer: Tokenizer;
  nextBatch: () => Promise<TuneBatch>;
  words: { good: string[]; bad: string[] };
  /** How a frame's logit is made of its patches and tiles; see `Scoring` of the bundle's manifest. */
  scoring: { topRatio: number; imageWeight: number };
};
export type TuneFigures = StepFigures & { tensors: Map<string, PlainTensor>; textBias: number; backend: string };

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
const BIAS_RATE = 3;
const LAYER_DECAY = 0.6;
/** Weights of the loss's three parts. */
const CONTRAST = 0.5;
const PATCH = 1;
const FRAME = 2;
/** A good frame has a thousand good patches for every defective one that a mask shows. */
const GOOD_FRAME_PATCH_WEIGHT = 0.25;

export async function trainTune(options: TuneOptions): Promise<TuneFigures> {
  const { tf, name: backend } = await loadBackend();
  const { config, words } = options;
  const weights = toWeights(tf, options.tensors, (name) => !name.startsWith("text."));
  weights.set(BIAS, tf.variable(tf.scalar(0)));
  const imageTower = createImageTower(tf, config);
  const textTower = createTextTower(tf, config);
  const embed = captionEmbedder(tf, (texts) => textTower(weights, texts.map(options.tokenizer.encode)));
  const wordEmbeds = tf.keep(embed([...words.good, ...words.bad]));
  const optimizer = createOptimizer(tf, weights, { name: "lamb" }, rateShare(weights, config.image.depth));
  const parts: LossParts = { tf, weights, imageTower, wordEmbeds, words, embed, options };
  weights.get(BIAS)?.assign(tf.scalar(startingBias(parts, await options.nextBatch())) as never);
  const figures = await runSteps({ tf, weights, optimizer }, options, {
    nextBatch: options.nextBatch,
    loss: (batch) => batchLoss(parts, batch),
  });
  const tensors = toTensors(weights);
  const textBias = tensors.get(BIAS)?.data[0] as number;
  tensors.delete(BIAS);
  return { tensors, textBias, ...figures, backend };
}

type LossParts = {
  tf: Tf;
  weights: Weights;
  imageTower: ImageTower;
  wordEmbeds: Tensor2D;
  words: TuneOptions["words"];
  embed: (texts: string[]) => Tensor2D;
  options: TuneOptions;
};

/**
 * Layer decay as the released recipe has it: scale = decay^(n + 1 − id), id 0 for the embeddings, i + 1 for block i, n + 1
 * for norm and head. Most of what a site's labels say can be read off features that are there already, and the tower below
 * should change little (Kumar et al. 2022, arXiv 2202.10054), so the decay here is stronger than in pre-training.
 * Norms and biases have no trust ratio in LAMB: a rate that suits matrices would throw them about. The frame's bias is a
 * logit and moves in whole units.
 */
function rateShare(weights: Weights, depth: number): (name: string) => number {
  return (name) => {
    if (name === BIAS) return BIAS_RATE;
    const block = name.match(/blocks\.(\d+)\./)?.[1];
    const id = block !== undefined ? Number(block) + 1 : /_embed|cls_token/.test(name) ? 0 : depth + 1;
    return LAYER_DECAY ** (depth + 1 - id) * (hasDecay(name, weights.get(name)?.shape ?? []) ? 1 : PLAIN_RATE);
  };
}

/** A site's frames lie anywhere on the words' scale: the first steps should not be spent on moving all of them. */
function startingBias({ tf, weights, imageTower, wordEmbeds, words, options }: LossParts, { frames }: TuneBatch): number {
  return tf.tidy(() => {
    const side = options.config.image.size;
    const seen = imageTower.embed(weights, tf.tensor4d(frames.pixelValues, [frames.count * frames.tiles, 3, side, side]));
    const scale = tf.exp(weight(weights, "logit_scale"));
    const directions = wordDirections(tf, wordEmbeds, words);
    const patches = patchLogits(tf, seen.patchEmbeds, directions, scale) as Tensor1D;
    const images = patchLogits(tf, seen.imageEmbeds, directions, scale) as Tensor1D;
    return -(tf.mean(frameLogits(tf, patches, images, frames, options.scoring)).dataSync()[0] as number);
  });
}

function wordDirections(tf: Tf, wordEmbeds: Tensor2D, words: TuneOptions["words"]): { good: Tensor; bad: Tensor } {
  const [good, bad] = tf.split(wordEmbeds, [words.good.length, words.bad.length], 0) as [Tensor2D, Tensor2D];
  return { good: normalise(tf, tf.mean(good, 0)), bad: normalise(tf, tf.mean(bad, 0)) };
}

/** One pass of the image tower over all pictures of the batch; what belongs to which kind is sliced out afterwards. */
function batchLoss(parts: LossParts, { masked, frames }: TuneBatch): Tensor {
  const { tf, weights, imageTower, wordEmbeds, words, options } = parts;
  const side = options.config.image.size;
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
  const whole = frameLogits(tf, framePatches, frameImages, frames, options.scoring);
  const target = tf.tensor1d(frames.isBad.map(Number));
  const onFrames = weightedCrossEntropy(tf, tf.add(whole, weight(weights, BIAS)), target, tf.onesLike(target));
  return tf.addN([
    tf.mul(contrast, CONTRAST),
    tf.mul(tf.add(onMasks, tf.mul(onGoodFrames, GOOD_FRAME_PATCH_WEIGHT)), PATCH),
    tf.mul(onFrames, FRAME),
  ]);
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
  { topRatio, imageWeight }: TuneOptions["scoring"],
): Tensor {
  const perFrame = patches.shape[0] / count;
  const top = meanOfTop(tf, tf.reshape(patches, [count, perFrame]) as Tensor2D, Math.max(1, Math.round(perFrame * topRatio)));
  const image = tf.mean(tf.reshape(images, [count, tiles]), 1);
  return tf.add(tf.mul(top, 1 - imageWeight), tf.mul(image, imageWeight));
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
