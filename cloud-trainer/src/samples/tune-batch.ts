/**
 * Batches for tuning on a site's own frames: three kinds of pictures in one batch.
 *
 *   crops    squares cut from good frames at random places, half of them with a synthetic local defect and its mask
 *   replay   generated surfaces with captions, so that what the base model knows is not forgotten
 *   frames   whole labelled frames, as many good as bad, cut into the very tiles a device will see
 *
 * Crops and replay have known masks; a frame called bad has its defect somewhere, and only its label is known.
 */
import { type ModelConfig, type RgbImage, tileFrame } from "@kenpin/clip";
import { KenpinError, type Preprocess } from "@kenpin/schema";
import { createRandom, type Random } from "@kenpin/stats";
import { captionRelations, type Pictures, picturesOf, type Stored, toStored } from "./batch.ts";
import { isVisible, paintDefect, type Planes } from "./defect.ts";
import type { Field } from "./field.ts";
import type { LabelledFrame } from "./labelled.ts";

export type TuneBatch = {
  /** Images of crops, replay and frames, for the speed that is reported. */
  size: number;
  /** Crops first, replay after them. */
  masked: Pictures & { crops: number; cropIsBad: boolean[]; replay: ReturnType<typeof captionRelations> };
  /** Tiles of whole frames, frame by frame, `tiles` each. */
  frames: { pixelValues: Float32Array; count: number; tiles: number; isBad: boolean[] };
};

export type TuneBatchOptions = {
  config: ModelConfig;
  preprocess: Preprocess;
  frames: readonly LabelledFrame[];
  replay: readonly Stored[];
  sizes: { crops: number; replay: number; frames: number };
  seed: number;
};

const SYNTHETIC_BAD_RATIO = 0.5;

export async function tuneBatches({ config, preprocess, frames, replay, sizes, seed }: TuneBatchOptions): Promise<() => TuneBatch> {
  const random = createRandom(seed);
  const good = frames.filter(({ label }) => label === "good");
  const bad = frames.filter(({ label }) => label === "bad");
  if (good.length === 0 || bad.length === 0) {
    throw new KenpinError(
      "too-few-labels",
      `tuning needs good and bad frames; ${good.length} good and ${bad.length} bad are labelled: label more samples, then start it again`,
    );
  }
  const tiles = new Map<LabelledFrame, Float32Array>();
  for (const frame of frames) tiles.set(frame, (await tileFrame(frame.image, preprocess)).pixelValues);
  const cropSource = good.filter(({ image }) => Math.min(image.width, image.height) >= config.image.size);
  const drawGood = endless(good, random);
  const drawBad = endless(bad, random);
  const drawReplay = endless(replay, random);
  const tileLength = 3 * config.image.size ** 2;

  const wholeFrames = (): TuneBatch["frames"] => {
    const drawn = Array.from({ length: sizes.frames }, (_, i) => (i % 2 === 0 ? drawGood() : drawBad()));
    const all = drawn.map((frame) => tiles.get(frame) as Float32Array);
    const count = Math.min(...all.map((one) => one.length / tileLength));
    const pixelValues = new Float32Array(drawn.length * count * tileLength);
    for (const [i, one] of all.entries()) pixelValues.set(someTiles(one, count, tileLength, random), i * count * tileLength);
    return { pixelValues, count: drawn.length, tiles: count, isBad: drawn.map(({ label }) => label === "bad") };
  };

  return () => {
    const crops = cropSource.length > 0 ? Array.from({ length: sizes.crops }, () => drawCrop(cropSource, config.image.size, random)) : [];
    const surfaces = Array.from({ length: sizes.replay }, drawReplay);
    const masked = picturesOf([...crops.map(({ stored }) => stored), ...surfaces], config, random, { upright: crops.length });
    const whole = wholeFrames();
    return {
      size: crops.length + surfaces.length + whole.count * whole.tiles,
      masked: { ...masked, crops: crops.length, cropIsBad: crops.map(({ isBad }) => isBad), replay: captionRelations(surfaces, random) },
      frames: whole,
    };
  };
}

/** Frames of one batch may differ in size: all give as many tiles as the smallest has. */
function someTiles(all: Float32Array, count: number, tileLength: number, random: Random): Float32Array {
  const have = all.length / tileLength;
  if (have === count) return all;
  const picked = random.shuffle(Array.from({ length: have }, (_, i) => i)).slice(0, count);
  const out = new Float32Array(count * tileLength);
  for (const [i, tile] of picked.entries()) out.set(all.subarray(tile * tileLength, (tile + 1) * tileLength), i * tileLength);
  return out;
}

function drawCrop(
  frames: readonly LabelledFrame[],
  side: number,
  random: Random,
): { stored: Pick<Stored, "rgb" | "mask">; isBad: boolean } {
  const planes = cut(random.pick(frames).image, side, random);
  const clean = new Float32Array(side * side);
  if (random.next() >= SYNTHETIC_BAD_RATIO) return { stored: toStored(planes, clean), isBad: false };
  const painted = paintDefect(planes, random, cut(random.pick(frames).image, side, random));
  if (!isVisible(planes, painted.planes, painted.mask)) return { stored: toStored(planes, clean), isBad: false };
  return { stored: toStored(painted.planes, painted.mask), isBad: true };
}

function cut({ width, height, data }: RgbImage, side: number, random: Random): Planes {
  const [left, top] = [random.int(width - side + 1), random.int(height - side + 1)];
  const plane = (channel: number): Field => {
    const out = new Float32Array(side * side);
    for (let p = 0; p < out.length; p++) {
      const at = (top + Math.floor(p / side)) * width + left + (p % side);
      out[p] = (data[at * 3 + channel] as number) / 255;
    }
    return out;
  };
  return { side, rgb: [plane(0), plane(1), plane(2)] };
}

/** Goes through all items in a fresh order, again and again. */
function endless<T>(items: readonly T[], random: Random): () => T {
  let order: T[] = [];
  return () => {
    if (order.length === 0) order = random.shuffle([...items]);
    return order.pop() as T;
  };
}
