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
import { type Random, randomAt } from "@kenpin/stats";
import { captionRelations, picturesOf, type Stored, toStored } from "./batch.ts";
import { isVisible, paintDefect } from "./defect.ts";
import { shuffledEpochs } from "./epochs.ts";
import { cutSquare } from "./views.ts";

export type TuneFrame = { image: RgbImage; label: "good" | "bad" };
export type TuneBatchOptions = {
  config: ModelConfig;
  preprocess: Preprocess;
  frames: readonly TuneFrame[];
  replay: readonly Stored[];
  sizes: { crops: number; replay: number; frames: number };
  seed: number;
};

const SYNTHETIC_BAD_RATIO = 0.5;
/** Share of the frame's shorter side cut off at each edge, at most: little enough that a defect at the edge mostly stays. */
const LARGEST_SHIFT = 0.05;

/** A function of the draw's number alone: the same draw gives the same batch. */
export function tuneBatches({ config, preprocess, frames, replay, sizes, seed }: TuneBatchOptions) {
  needBothLabels(frames);
  const good = frames.filter(({ label }) => label === "good");
  const bad = frames.filter(({ label }) => label === "bad");
  const cropSource = good.filter(({ image }) => Math.min(image.width, image.height) >= config.image.size);
  const [goodAt, badAt] = [shuffledEpochs(good.length, seed), shuffledEpochs(bad.length, seed + 1)];
  const replayAt = shuffledEpochs(replay.length, seed + 2);
  const tileLength = 3 * config.image.size ** 2;
  const crops = cropSource.length > 0 ? sizes.crops : 0;

  const wholeFrames = async (draw: number, random: Random) => {
    const [goods, bads] = [Math.ceil(sizes.frames / 2), Math.floor(sizes.frames / 2)];
    const drawn = Array.from({ length: sizes.frames }, (_, i) => {
      const half = Math.floor(i / 2);
      return (i % 2 === 0 ? good[goodAt(draw * goods + half)] : bad[badAt(draw * bads + half)]) as TuneFrame;
    });
    const all: Float32Array[] = [];
    for (const { image } of drawn) all.push((await tileFrame(seenAgain(image, random), preprocess)).pixelValues);
    const count = Math.min(...all.map((one) => one.length / tileLength));
    const pixelValues = new Float32Array(drawn.length * count * tileLength);
    for (const [i, one] of all.entries()) pixelValues.set(someTiles(one, count, tileLength, random), i * count * tileLength);
    return { pixelValues, count: drawn.length, tiles: count, isBad: drawn.map(({ label }) => label === "bad") };
  };

  return async (draw: number) => {
    const random = randomAt(seed, draw);
    const cut = Array.from({ length: crops }, () => drawCrop(cropSource, config.image.size, random));
    const surfaces = Array.from({ length: sizes.replay }, (_, i) => replay[replayAt(draw * sizes.replay + i)] as Stored);
    const masked = picturesOf([...cut.map(({ stored }) => stored), ...surfaces], config, random, { upright: crops });
    const whole = await wholeFrames(draw, random);
    return {
      size: crops + surfaces.length + whole.count * whole.tiles,
      masked: { ...masked, crops, cropIsBad: cut.map(({ isBad }) => isBad), replay: captionRelations(surfaces, random) },
      frames: whole,
    };
  };
}

/** Good frames alone, or bad ones alone, teach no difference. Asked before anything long is begun. */
export function needBothLabels(frames: readonly Pick<TuneFrame, "label">[]): void {
  const bad = frames.filter(({ label }) => label === "bad").length;
  const good = frames.length - bad;
  if (good === 0 || bad === 0) {
    throw new KenpinError(
      "too-few-labels",
      `tuning needs good and bad frames; ${good} good and ${bad} bad are labelled: label more samples, then start it again`,
    );
  }
}

/**
 * The same frame as another exposure of it might look: shifted, lit a little differently, half of the time upside down. A
 * few dozen frames are learned by heart in a minute when they come back the same to the pixel. Mirroring would turn one
 * weave into another and is left out.
 */
function seenAgain({ width, height, data }: RgbImage, random: Random): RgbImage {
  const margin = Math.floor(Math.min(width, height) * LARGEST_SHIFT);
  const [left, top] = [random.int(margin + 1), random.int(margin + 1)];
  const [w, h] = [width - left - random.int(margin + 1), height - top - random.int(margin + 1)];
  const [gain, lift, turned] = [random.between(0.88, 1.12), random.between(-12, 12), random.next() < 0.5];
  const out = new Uint8Array(w * h * 3);
  for (let p = 0; p < w * h; p++) {
    const from = ((top + Math.floor(p / w)) * width + left + (p % w)) * 3;
    const to = (turned ? w * h - 1 - p : p) * 3;
    for (let c = 0; c < 3; c++) out[to + c] = Math.min(255, Math.max(0, Math.round((data[from + c] as number) * gain + lift)));
  }
  return { width: w, height: h, data: out };
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

function drawCrop(frames: readonly TuneFrame[], side: number, random: Random): { stored: Pick<Stored, "rgb" | "mask">; isBad: boolean } {
  const planes = cutSquare(random.pick(frames).image, side, random);
  const clean = new Float32Array(side * side);
  if (random.next() >= SYNTHETIC_BAD_RATIO) return { stored: toStored(planes, clean), isBad: false };
  const painted = paintDefect(planes, random, cutSquare(random.pick(frames).image, side, random));
  if (!isVisible(planes, painted.planes, painted.mask)) return { stored: toStored(planes, clean), isBad: false };
  return { stored: toStored(painted.planes, painted.mask), isBad: true };
}
