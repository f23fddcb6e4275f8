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
import { createImageTower } from "./image-tower.ts";
import { normalise, weight } from "./layers.ts";
import { contrastiveLoss, patchLogits } from "./losses.ts";
import { gradientsOf } from "./objective.ts";
import { runStage, type StageOutcome, type StageSetup } from "./stage.ts";
import { createTextTower } from "./text-tower.ts";
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
  /** The words' embeddings by the teacher's text tower. */
  words: { good: Float32Array; bad: Float32Array };
};

export async function trainDistill(setup: DistillSetup): Promise<StageOutcome> {
  const { tf } = await loadBackend();
  const { config, terms } = setup;
  const weights = toWeights(tf, setup.tensors, (name) => name.startsWith("visual."));
  const tower = createImageTower(tf, config, { recompute: setup.recipe.recompute });
  const direction = (rows: Float32Array) => normalise(tf, tf.mean(tf.tensor2d(rows, [rows.length / config.embedDim, config.embedDim]), 0));
  const directions = tf.tidy(() => ({ good: tf.keep(direction(setup.words.good)), bad: tf.keep(direction(setup.words.bad)) }));
  const side = config.image.size;

  const objective = gradientsOf<DistillBatch>(tf, weights, (batch) => {
    const pixelValues = tf.tensor4d(batch.pixelValues, [batch.size, 3, side, side]) as Tensor4D;
    const student = tower.embed(weights, pixelValues);
    const rows = (data: Float32Array) => tf.tensor2d(data, [data.length / config.embedDim, config.embedDim]);
    const [image, patch] = [rows(batch.imageEmbeds), rows(batch.patchEmbeds)];
    const scale = tf.exp(weight(weights, "logit_scale"));
    const parts: Record<string, Tensor> = {};
    if (terms.features > 0)
      parts["features"] = tf.add(squaredDistance(tf, student.imageEmbeds, image), squaredDistance(tf, student.patchEmbeds, patch));
    if (terms.logits > 0) {
      const certainty = (seen: Tensor2D, told: Tensor2D) =>
        bernoulliDivergence(tf, patchLogits(tf, seen, directions, scale), patchLogits(tf, told, directions, scale));
      parts["logits"] = tf.add(certainty(student.imageEmbeds, image), certainty(student.patchEmbeds, patch));
    }
    const captions = batch.captionEmbeds.length > 0 ? rows(batch.captionEmbeds) : null;
    if (terms.interactive > 0) parts["interactive"] = interactive(tf, student.imageEmbeds, { image, captions, scale, batch });
    if (terms.affinity > 0 && captions) parts["affinity"] = affinity(tf, student.imageEmbeds, image, captions, scale);
    const loss = tf.addN(Object.entries(parts).map(([name, value]) => tf.mul(value, terms[name as keyof typeof terms])));
    return { loss, parts };
  });
  const outcome = await runStage(setup, { tf, weights, objective, batchAt: setup.batchAt });
  tf.dispose(Object.values(directions));
  return outcome;
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
