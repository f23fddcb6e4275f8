/**
 * A picture as a training step sees it: framed anew, relit, normalised. In: RGB bytes, what may change (a recipe's
 * `augmentation`), random numbers. Out: pixel_values [3, S, S]; its mask and boxes follow the frame.
 * The same stream of random numbers gives the same bytes, so that a run that resumes sees what it would have seen.
 */
import type { ModelConfig, RgbImage } from "@kenpin/clip";
import type { AugmentationRecipe } from "@kenpin/schema";
import type { Random } from "@kenpin/stats";
import { type Box, drawFrame, reframe, reframeBoxes } from "./augment/reframe.ts";
import { amountsOf, relight } from "./augment/relight.ts";

/** As RandomResizedCrop has it in torchvision and in open_clip. */
const RATIO = [3 / 4, 4 / 3] as const;

export type AugmentOptions = {
  config: Pick<ModelConfig, "image" | "preprocess">;
  augmentation: AugmentationRecipe;
  random: Random;
  /** One byte a pixel of the picture, 255 where the defect is. */
  mask?: Uint8Array;
  /** In pixels of the picture. */
  boxes?: readonly Box[];
};
export type Augmented = {
  pixelValues: Float32Array;
  /** [S, S] share of each pixel that is defective. */
  mask: Float32Array | null;
  boxes: Box[];
};

export async function augment(image: RgbImage, { config, augmentation, random, mask, boxes = [] }: AugmentOptions): Promise<Augmented> {
  const { size } = config.image;
  const frame = drawFrame(image, { ...augmentation, ratio: RATIO }, random);
  const framed = reframe(image, frame, { size, channels: 3 });
  const planes = await relight(framed, size, amountsOf(augmentation.photometric), random);
  return {
    pixelValues: normalised(planes, config.preprocess),
    mask: mask ? reframe({ width: image.width, data: mask }, frame, { size, channels: 1 }) : null,
    boxes: reframeBoxes(boxes, frame, size),
  };
}

export async function augmentedPixels(image: RgbImage, options: Omit<AugmentOptions, "mask" | "boxes">): Promise<Float32Array> {
  return (await augment(image, options)).pixelValues;
}

function normalised(planes: Float32Array, { mean, std }: ModelConfig["preprocess"]): Float32Array {
  const area = planes.length / 3;
  const out = new Float32Array(planes.length);
  for (let c = 0; c < 3; c++) {
    const [m, s] = [mean[c] as number, std[c] as number];
    for (let p = c * area; p < (c + 1) * area; p++) out[p] = ((planes[p] as number) - m) / s;
  }
  return out;
}
