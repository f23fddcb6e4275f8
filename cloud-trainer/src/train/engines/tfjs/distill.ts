/**
 * The stage `distill`: a student's image tower learns from a teacher's stored embeddings; words and captions stay the teacher's.
 *
 *   features     ‖s − t‖² of image_embeds and of patch_embeds (CLIP-KD, arXiv 2307.12732: the term that pays most)
 *   logits       what a device decides by: KL between the teacher's and the student's certainty that a patch, and a picture, is
 *                bad by the words
 *   interactive  InfoNCE with the student's pictures as anchors and the teacher's embeddings as keys (CLIP-KD's interactive
 *                contrast): the pictures' own, and their captions'
 *   affinity     KL between teacher and student of the softmax over captions for each picture and over pictures for each
 *                caption (TinyCLIP's affinity mimicking, arXiv 2309.12314)
 */
import type { ModelConfig } from "@kenpin/clip";
import { loadBackend, type Tensor, type Tensor2D, type Tensor4D, type Tf } from "./backend.ts";
import { addTo } from "./gradient-cache.ts";
import { createImageTower, type ImageTower } from "./image-tower.ts";
import { normalise, type Weights, weight } from "./layers.ts";
import { contrastiveLoss, patchLogits } from "./losses.ts";
import { gradientsOf, type LossAndGradients } from "./objective.ts";
import { runStage, type StageOutcome, type StageSetup } from "./stage.ts";
import { createTextTower } from "./text-tower.ts";
import type { Range } from "./tiled-loss.ts";
import { toWeights } from "./weights.ts";

type DistillBatch = {
  /** [B, 3, S, S], normalised. */
  pixelValues: Float32Array;
  size: number;
  /** The teacher's rows for the same pictures: [B, D] and [B·P, D]. */
  imageEmbeds: Float32Array;
  patchEmbeds: Float32Array;
  /** [T, D] distinct captions of the batch by the teacher's text tower, and [B, T] relations; T may be 0. */
  captionEmbeds: Float32Array;
  positive: Float32Array;
  blocked: Float32Array;
};

export type DistillSetup = StageSetup & {
  batchAt: (draw: number) => DistillBatch;
  terms: { logits: number; features: number; interactive: number; affinity: number };
  /** Pictures looked at a time; null takes the whole batch at once. */
  microBatch: number | null;
  /** The words' embeddings by the teacher's text tower. */
  words: { good: Float32Array; bad: Float32Array };
};

export async function trainDistill(setup: DistillSetup): Promise<StageOutcome> {
  const { tf } = await loadBackend();
  const { config } = setup;
  const weights = toWeights(tf, setup.tensors, (name) => name.startsWith("visual."));
  const tower = createImageTower(tf, config, { recompute: setup.recipe.recompute });
  const direction = (rows: Float32Array) => normalise(tf, tf.mean(tf.tensor2d(rows, [rows.length / config.embedDim, config.embedDim]), 0));
  const directions = tf.tidy(() => ({ good: tf.keep(direction(setup.words.good)), bad: tf.keep(direction(setup.words.bad)) }));
  const parts = { tf, weights, tower, directions, setup };
  const whole = gradientsOf<DistillBatch>(tf, weights, (batch) => {
    const rows = { from: 0, to: batch.size };
    const student = look(parts, batch, rows);
    const terms = { ...ofEachPicture(parts, student, batch, rows), ...betweenPictures(parts, student.imageEmbeds, batch) };
    return { loss: weighted(tf, terms, setup.terms), parts: terms };
  });
  const { microBatch } = setup;
  const objective = (batch: DistillBatch) =>
    microBatch === null || batch.size <= microBatch ? whole(batch) : inMicroBatches(parts, batch, microBatch);
  const outcome = await runStage(setup, { tf, weights, objective, batchAt: setup.batchAt });
  tf.dispose(Object.values(directions));
  return outcome;
}

type Parts = {
  tf: Tf;
  weights: Weights;
  tower: ImageTower;
  directions: { good: Tensor; bad: Tensor };
  setup: Pick<DistillSetup, "config" | "terms">;
};
type Seen = { imageEmbeds: Tensor2D; patchEmbeds: Tensor2D };
type Terms = Record<string, Tensor>;

function look({ tf, weights, tower, setup: { config } }: Parts, batch: DistillBatch, { from, to }: Range): Seen {
  const side = config.image.size;
  const each = 3 * side * side;
  return tower.embed(weights, tf.tensor4d(batch.pixelValues.subarray(from * each, to * each), [to - from, 3, side, side]) as Tensor4D);
}

/** The teacher's rows for these pictures. */
function told({ tf, setup: { config } }: Parts, batch: DistillBatch, { from, to }: Range, all: Float32Array): Tensor2D {
  const each = all.length / batch.size;
  return tf.tensor2d(all.subarray(from * each, to * each), [((to - from) * each) / config.embedDim, config.embedDim]);
}

/** The terms that are means over pictures: of these alone. */
function ofEachPicture(parts: Parts, student: Seen, batch: DistillBatch, rows: Range): Terms {
  const { tf, weights, directions, setup } = parts;
  const [image, patch] = [told(parts, batch, rows, batch.imageEmbeds), told(parts, batch, rows, batch.patchEmbeds)];
  const terms: Terms = {};
  if (setup.terms.features > 0)
    terms["features"] = tf.add(squaredDistance(tf, student.imageEmbeds, image), squaredDistance(tf, student.patchEmbeds, patch));
  if (setup.terms.logits > 0) {
    const scale = tf.exp(weight(weights, "logit_scale"));
    const certainty = (seen: Tensor2D, said: Tensor2D) =>
      bernoulliDivergence(tf, patchLogits(tf, seen, directions, scale), patchLogits(tf, said, directions, scale));
    terms["logits"] = tf.add(certainty(student.imageEmbeds, image), certainty(student.patchEmbeds, patch));
  }
  return terms;
}

/** The terms in which every picture of the batch counts for every other. */
function betweenPictures(parts: Parts, student: Tensor2D, batch: DistillBatch): Terms {
  const { tf, weights, setup } = parts;
  const image = told(parts, batch, { from: 0, to: batch.size }, batch.imageEmbeds);
  const dim = setup.config.embedDim;
  const captions = batch.captionEmbeds.length > 0 ? tf.tensor2d(batch.captionEmbeds, [batch.captionEmbeds.length / dim, dim]) : null;
  const scale = tf.exp(weight(weights, "logit_scale"));
  const terms: Terms = {};
  if (setup.terms.interactive > 0) terms["interactive"] = interactive(tf, student, { image, captions, scale, batch });
  if (setup.terms.affinity > 0 && captions) terms["affinity"] = affinity(tf, student, image, captions, scale);
  return terms;
}

function weighted(tf: Tf, terms: Terms, by: DistillSetup["terms"]): Tensor {
  return tf.addN([tf.scalar(0), ...Object.entries(terms).map(([name, value]) => tf.mul(value, by[name as keyof typeof by]))]);
}

/**
 * The whole batch's gradient in a micro-batch's memory (see gradient-cache.ts): embed all, take the gradient of the terms between
 * pictures by the embeddings, look at each micro-batch once more and add its own terms' share.
 */
function inMicroBatches(parts: Parts, batch: DistillBatch, pictures: number): LossAndGradients {
  const { tf, weights, setup } = parts;
  const ranges: Range[] = [];
  for (let from = 0; from < batch.size; from += pictures) ranges.push({ from, to: Math.min(batch.size, from + pictures) });
  const embeds = tf.tidy(() =>
    tf.concat(
      ranges.map((rows) => tf.tidy(() => look(parts, batch, rows).imageEmbeds)),
      0,
    ),
  );
  const sums = new Map(Object.entries(tf.tidy(() => betweenPictures(parts, embeds, batch))));
  const byEmbeds = tf.tidy(() => tf.grad((rows) => weighted(tf, betweenPictures(parts, rows as Tensor2D, batch), setup.terms))(embeds));
  const gradients = new Map<string, Tensor>();
  for (const rows of ranges) {
    const share = (rows.to - rows.from) / batch.size;
    const step = gradientsOf<Range>(tf, weights, (range) => {
      const student = look(parts, batch, range);
      const own = ofEachPicture(parts, student, batch, range);
      const through = tf.sum(tf.mul(student.imageEmbeds, tf.slice(byEmbeds, [range.from, 0], [range.to - range.from, -1])));
      return { loss: tf.add(through, tf.mul(weighted(tf, own, setup.terms), share)), parts: own };
    })(rows);
    step.loss.dispose();
    for (const [name, value] of Object.entries(step.parts ?? {})) {
      addTo(tf, sums, name, tf.mul(value, share));
      value.dispose();
    }
    for (const [name, gradient] of step.gradients) addTo(tf, gradients, name, gradient);
  }
  tf.dispose([embeds, byEmbeds]);
  const terms = Object.fromEntries(sums);
  return { loss: tf.tidy(() => weighted(tf, terms, setup.terms)), gradients, parts: terms };
}

/** Pictures and captions through the teacher, a few at a time; no gradient. */
export async function createTeacher(model: { config: ModelConfig; tensors: StageSetup["tensors"] }) {
  const { tf } = await loadBackend();
  const { config } = model;
  const weights = toWeights(tf, model.tensors, () => false);
  const [images, texts] = [createImageTower(tf, config), createTextTower(tf, config)];
  const side = config.image.size;
  return {
    image: (pixelValues: Float32Array): { imageEmbeds: Float32Array; patchEmbeds: Float32Array } =>
      tf.tidy(() => {
        const seen = images.embed(weights, tf.tensor4d(pixelValues, [pixelValues.length / (3 * side * side), 3, side, side]));
        return { imageEmbeds: seen.imageEmbeds.dataSync() as Float32Array, patchEmbeds: seen.patchEmbeds.dataSync() as Float32Array };
      }),
    text: (ids: Int32Array[]): Float32Array => tf.tidy(() => texts(weights, ids).dataSync() as Float32Array),
    dispose: () => {
      for (const variable of weights.values()) variable.dispose();
    },
  };
}

function squaredDistance(tf: Tf, student: Tensor2D, teacher: Tensor2D): Tensor {
  return tf.mean(tf.sum(tf.squaredDifference(student, teacher), 1));
}

/** KL(teacher ‖ student) of two-way decisions given by logits, mean over them; 0 where both agree. */
function bernoulliDivergence(tf: Tf, student: Tensor, teacher: Tensor): Tensor {
  const told = tf.sigmoid(teacher);
  // p·(ln σ(t) − ln σ(s)) + (1 − p)·(ln σ(−t) − ln σ(−s)), with ln σ(x) = −softplus(−x)
  const yes = tf.sub(tf.softplus(tf.neg(student)), tf.softplus(tf.neg(teacher)));
  const no = tf.sub(tf.softplus(student), tf.softplus(teacher));
  return tf.mean(tf.add(tf.mul(told, yes), tf.mul(tf.sub(1, told), no)));
}

function interactive(
  tf: Tf,
  student: Tensor2D,
  { image, captions, scale, batch }: { image: Tensor2D; captions: Tensor2D | null; scale: Tensor; batch: DistillBatch },
): Tensor {
  const same = tf.eye(batch.size) as Tensor2D;
  const withPictures = contrastiveLoss(tf, student, image, { scale, positive: same, blocked: tf.zerosLike(same) });
  if (!captions) return withPictures;
  const shape: [number, number] = [batch.size, captions.shape[0]];
  const relations = { positive: tf.tensor2d(batch.positive, shape), blocked: tf.tensor2d(batch.blocked, shape) };
  return tf.mul(tf.add(withPictures, contrastiveLoss(tf, student, captions, { scale, ...relations })), 0.5);
}

function affinity(tf: Tf, student: Tensor2D, teacher: Tensor2D, captions: Tensor2D, scale: Tensor): Tensor {
  const logits = (rows: Tensor2D) => tf.mul(tf.matMul(rows, captions, false, true), scale) as Tensor2D;
  const divergence = (told: Tensor2D, seen: Tensor2D) => {
    const [p, q] = [tf.logSoftmax(told), tf.logSoftmax(seen)];
    return tf.mean(tf.sum(tf.mul(tf.exp(p), tf.sub(p, q)), 1));
  };
  const [told, seen] = [logits(teacher), logits(student)];
  const across = divergence(tf.transpose(told) as Tensor2D, tf.transpose(seen) as Tensor2D);
  return tf.mul(tf.add(divergence(told, seen), across), 0.5);
}
