/**
 * Pictures at the image tower's own scale, for stages that need no labels: squares cut from frames at random places (a
 * frame smaller than the tower's input is enlarged to it), and generated surfaces. Flipped and turned, unless a part has a
 * way up. What a view shows follows from its picture and a stream of random numbers alone.
 */
import type { ModelConfig, RgbImage } from "@kenpin/clip";
import { type Random, randomAt } from "@kenpin/stats";
import { picturesOf, type Stored, toStored } from "./batch.ts";
import { paintDefect, type Planes } from "./defect.ts";
import { shuffledEpochs } from "./epochs.ts";
import type { Field } from "./field.ts";

export type ViewSource = {
  config: ModelConfig;
  frames: readonly RgbImage[];
  surfaces: readonly Stored[];
  turn: boolean;
  /** Share of the views of frames that get a synthetic defect: a site has few bad parts, and a student should see many. */
  defects?: number;
};
type View = Pick<Stored, "rgb" | "mask">;

/** [n, 3, S, S] of the given pictures, frames numbered first; one stream of random numbers each. */
export function viewsOf(
  { config, frames, surfaces, turn, defects = 0 }: ViewSource,
  pictures: readonly number[],
  random: (i: number) => Random,
): Float32Array {
  const length = 3 * config.image.size ** 2;
  const out = new Float32Array(pictures.length * length);
  for (const [i, picture] of pictures.entries()) {
    const stream = random(i);
    const frame = frames[picture];
    const view: View = frame ? cutView(frame, config.image.size, stream, defects) : (surfaces[picture - frames.length] as Stored);
    out.set(picturesOf([view], config, stream, { upright: turn ? 0 : 1 }).pixelValues, i * length);
  }
  return out;
}

/** `count` views of one draw, from frames and surfaces by turns where there are both, and a stream to draw masks from. */
export function viewStream(source: ViewSource, seed: number) {
  const { frames, surfaces } = source;
  const [frameAt, surfaceAt] = [shuffledEpochs(frames.length, seed), shuffledEpochs(surfaces.length, seed + 1)];
  const pictureAt = (place: number): number => {
    if (surfaces.length === 0) return frameAt(place);
    if (frames.length === 0) return surfaceAt(place);
    const half = Math.floor(place / 2);
    return place % 2 === 0 ? frames.length + surfaceAt(half) : frameAt(half);
  };
  return (draw: number, count: number): { pixelValues: Float32Array; random: Random } => {
    const random = randomAt(seed, draw);
    const pictures = Array.from({ length: count }, (_, i) => pictureAt(draw * count + i));
    return { pixelValues: viewsOf(source, pictures, () => random), random };
  };
}

function cutView(frame: RgbImage, side: number, random: Random, defects: number): View {
  const source = Math.min(frame.width, frame.height) >= side ? frame : enlarge(frame, side);
  const planes = cutSquare(source, side, random);
  const clean = new Float32Array(side * side);
  if (defects === 0 || random.next() >= defects) return toStored(planes, clean);
  const { planes: painted, mask } = paintDefect(planes, random, cutSquare(source, side, random));
  return toStored(painted, mask);
}

/** A square of `side` pixels from a random place of the frame, in [0, 1]. */
export function cutSquare({ width, height, data }: RgbImage, side: number, random: Random): Planes {
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

/** To a shortest side of `side`, by the nearest pixel: the tower should see the sensor's own noise, not a smoothed one. */
function enlarge({ width, height, data }: RgbImage, side: number): RgbImage {
  const scale = side / Math.min(width, height);
  const [w, h] = [Math.max(side, Math.round(width * scale)), Math.max(side, Math.round(height * scale))];
  const out = new Uint8Array(w * h * 3);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const from = (Math.min(height - 1, Math.floor(y / scale)) * width + Math.min(width - 1, Math.floor(x / scale))) * 3;
      out.set(data.subarray(from, from + 3), (y * w + x) * 3);
    }
  }
  return { width: w, height: h, data: out };
}
