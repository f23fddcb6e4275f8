/**
 * The stage `pretrain`: EVA's masked image modelling (arXiv 2211.07636; EVA-02, arXiv 2303.11331). Blocks of patches are
 * replaced by a mask token; for those the image tower predicts, through a head of its own, the features that a CLIP image
 * tower has of the whole picture.
 *
 * Loss = 1 − cos(prediction, teacher's feature), mean over masked patches. Against other targets (HOG, pixels), which are
 * there to compare with, the squared error of targets the batch brings along.
 */
import type { ModelConfig, Tensor as PlainTensor } from "@kenpin/clip";
import { loadBackend, type Tensor, type Tensor2D, type Tensor4D, type Tf } from "./backend.ts";
import { createImageTower } from "./image-tower.ts";
import { linear, normalise, type Weights } from "./layers.ts";
import { gradientsOf, type Objective } from "./objective.ts";
import { runStage, type StageOutcome, type StageSetup } from "./stage.ts";
import { randomTensor, toWeights } from "./weights.ts";

type MaskedBatch = {
  /** [B, 3, S, S], normalised. */
  pixelValues: Float32Array;
  size: number;
  /** [B·P] 1 where a patch is masked. */
  masked: Float32Array;
  /** [B·P, T] where the target is no teacher. */
  targets: Float32Array | null;
};

export type PretrainSetup = StageSetup & {
  batchAt: (draw: number) => MaskedBatch | Promise<MaskedBatch>;
  /** The tower whose features are predicted, or the length T of the batch's own targets. */
  target: { config: ModelConfig; tensors: ReadonlyMap<string, PlainTensor> } | { length: number };
};

const MASK_TOKEN = "mask_token";
const HEAD = "mim_head";

export async function trainMasked(setup: PretrainSetup): Promise<StageOutcome> {
  const { tf } = await loadBackend();
  const { config, target, seed } = setup;
  const teacher = "tensors" in target ? createTeacher(tf, target) : null;
  const length = "tensors" in target ? target.config.image.width : target.length;
  const weights = toWeights(tf, setup.tensors, isTrained);
  weights.set(MASK_TOKEN, tf.variable(randomTensor(tf, [1, 1, config.image.width], 0.02, seed)));
  weights.set(`${HEAD}.weight`, tf.variable(randomTensor(tf, [length, config.image.width], 0.02, seed + 1)));
  weights.set(`${HEAD}.bias`, tf.variable(tf.zeros([length])));
  const tower = createImageTower(tf, config, { recompute: setup.recipe.recompute });
  const side = config.image.size;
  const patches = (side / config.image.patch) ** 2;

  const objective: Objective<MaskedBatch> = (batch) => {
    const pixelValues = tf.tensor4d(batch.pixelValues, [batch.size, 3, side, side]);
    const masked = tf.tensor2d(batch.masked, [batch.size, patches]);
    // The teacher sees the whole picture, and no gradient ever reaches it: its features are made outside the step's tape.
    const wanted = teacher ? teacher(pixelValues) : tf.tensor2d(batch.targets as Float32Array, [batch.size * patches, length]);
    const step = gradientsOf(tf, weights, () => {
      const predicted = linear(tf, patchRows(tf, tower.tokens(weights, pixelValues, { masked }), batch.size), weights, HEAD);
      return overMasked(tf, teacher ? cosineLoss(tf, predicted, wanted) : squaredLoss(tf, predicted, wanted), masked);
    });
    const result = step(batch);
    tf.dispose([pixelValues, masked, wanted]);
    return result;
  };
  return runStage(setup, { tf, weights, objective, batchAt: setup.batchAt });
}

/** The head and the text tower have no part in predicting features. */
function isTrained(name: string): boolean {
  return name.startsWith("visual.") && !name.startsWith("visual.trunk.head.");
}

/** Tokens after the teacher's last norm, class token left out: [B·P, W]. */
function createTeacher(tf: Tf, { config, tensors }: { config: ModelConfig; tensors: ReadonlyMap<string, PlainTensor> }) {
  const tower = createImageTower(tf, config);
  const weights: Weights = toWeights(tf, tensors, () => false);
  return (pixelValues: Tensor4D): Tensor2D => tf.tidy(() => patchRows(tf, tower.tokens(weights, pixelValues), pixelValues.shape[0]));
}

/** [B·(1 + P), W] → [B·P, W]: without the class tokens. */
function patchRows(tf: Tf, tokens: Tensor2D, batch: number): Tensor2D {
  const [rows, width] = tokens.shape;
  const perPicture = rows / batch;
  const patches = tf.slice(tf.reshape(tokens, [batch, perPicture, width]), [0, 1, 0], [batch, perPicture - 1, width]);
  return tf.reshape(patches, [batch * (perPicture - 1), width]);
}

function cosineLoss(tf: Tf, predicted: Tensor2D, wanted: Tensor2D): Tensor {
  return tf.sub(1, tf.sum(tf.mul(normalise(tf, predicted), normalise(tf, wanted)), 1));
}

function squaredLoss(tf: Tf, predicted: Tensor2D, wanted: Tensor2D): Tensor {
  return tf.mean(tf.square(tf.sub(predicted, wanted)), 1);
}

function overMasked(tf: Tf, losses: Tensor, masked: Tensor2D): Tensor {
  const chosen = tf.reshape(masked, [-1]);
  return tf.div(tf.sum(tf.mul(losses, chosen)), tf.maximum(tf.sum(chosen), 1));
}
