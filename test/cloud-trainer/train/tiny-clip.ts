/**
 * A small real CLIP (both towers, a few thousand weights) and a task it learns in some hundred steps: pictures of eight
 * patterns in noise, each with its own row of tokens. A batch depends on its draw alone.
 */
import { createRandom } from "@kenpin/stats";
import type { Tensor2D, Tf } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { createImageTower } from "../../../cloud-trainer/src/train/engines/tfjs/image-tower.ts";
import { weight } from "../../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { clipLoss } from "../../../cloud-trainer/src/train/engines/tfjs/losses.ts";
import { gradientsOf } from "../../../cloud-trainer/src/train/engines/tfjs/objective.ts";
import { createOptimizer } from "../../../cloud-trainer/src/train/engines/tfjs/optimizer.ts";
import type { StageRun } from "../../../cloud-trainer/src/train/engines/tfjs/steps.ts";
import { createTextTower } from "../../../cloud-trainer/src/train/engines/tfjs/text-tower.ts";
import { createWeightAverage } from "../../../cloud-trainer/src/train/engines/tfjs/weight-average.ts";
import { drawTensors, toWeights } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { smallConfig } from "./small-config.ts";

const TINY = smallConfig({ name: "tiny" });
const PATTERNS = 8;
const PIXELS = 3 * TINY.image.size ** 2;
const END = 513;

export type TinyBatch = { size: number; pixelValues: Float32Array; ids: Int32Array[] };

const pattern = (number: number) => {
  const { normal } = createRandom(1000 + number);
  return Float32Array.from({ length: PIXELS }, normal);
};
const patterns = Array.from({ length: PATTERNS }, (_, i) => pattern(i));

/** One picture of each pattern, so that no caption stands twice in a batch. */
export function tinyBatch(draw: number): TinyBatch {
  const { normal } = createRandom(draw + 1);
  const pixelValues = new Float32Array(PATTERNS * PIXELS);
  for (const [i, values] of patterns.entries())
    pixelValues.set(
      values.map((value) => value + normal()),
      i * PIXELS,
    );
  const ids = patterns.map((_, i) => Int32Array.of(512, 40 + i, 90 + 3 * i, END, 0, 0));
  return { size: PATTERNS, pixelValues, ids };
}

/** Everything `runSteps` needs but where to keep it and whom to tell. */
export function tinyTraining(tf: Tf, { seed = 7, steps = 100 }: { seed?: number; steps?: number } = {}) {
  const weights = toWeights(tf, drawTensors(TINY, seed));
  const [image, text] = [createImageTower(tf, TINY), createTextTower(tf, TINY)];
  const side = TINY.image.size;
  const objective = gradientsOf<TinyBatch>(tf, weights, ({ size, pixelValues, ids }) => {
    const { imageEmbeds } = image.embed(weights, tf.tensor4d(pixelValues, [size, 3, side, side]));
    const contrast = clipLoss(tf, imageEmbeds, text(weights, ids) as Tensor2D, tf.exp(weight(weights, "logit_scale")));
    return { loss: contrast, parts: { contrast } };
  });
  return {
    tf,
    weights,
    optimizer: createOptimizer(tf, weights, { name: "lamb" }),
    average: createWeightAverage(tf, weights, { decay: 0.95 }),
    batchAt: tinyBatch,
    objective,
    length: { steps },
    schedule: { rate: 0.01, warmup: 5, floor: 0.1 },
    stability: { window: 16, lossDeviations: 10, normFactor: 20, skipsBeforeRollback: 4, rateAfterRollback: 0.5, maxRollbacks: 3 },
    folder: null,
    checkpointEvery: 10,
    memoryLimitMb: null,
    onStep: () => undefined,
    onEvent: () => undefined,
  } satisfies StageRun<TinyBatch>;
}
