/**
 * A picture as a published CLIP model wants it: shortest side to the input size (bicubic with antialias), centre cut, /255,
 * normalised. In: RGB bytes. Out: `pixel_values` [3, S, S]. The same bytes as torchvision's Resize and CenterCrop on Pillow
 * images give: sizes as torchvision rounds them, sums in Pillow's fixed point (Resample.c), one axis after the other.
 */
import { bicubicWindows, type Window } from "./bicubic.ts";
import type { RgbImage } from "./image.ts";
import type { ModelConfig } from "./model-config.ts";

/** Pillow's PRECISION_BITS: 32 less 8 bits of a pixel and 2 of overshoot. */
const FRACTION_BITS = 22;
const HALF = 2 ** (FRACTION_BITS - 1);

export function clipPixels(image: RgbImage, { image: { size }, preprocess }: Pick<ModelConfig, "image" | "preprocess">): Float32Array {
  const { data } = cutSquare(image, size);
  const out = new Float32Array(3 * size * size);
  const { fround } = Math;
  for (let channel = 0; channel < 3; channel++) {
    const [mean, std] = [fround(preprocess.mean[channel] as number), fround(preprocess.std[channel] as number)];
    const values = Float32Array.from({ length: 256 }, (_, byte) => fround(fround(fround(byte / 255) - mean) / std));
    const plane = channel * size * size;
    for (let i = 0; i < size * size; i++) out[plane + i] = values[data[i * 3 + channel] as number] as number;
  }
  return out;
}

/** The shortest side resized to `size`, and of that the middle square; nothing outside the square is computed. */
export function cutSquare(image: RgbImage, size: number): RgbImage {
  const [short, long] = [Math.min(image.width, image.height), Math.max(image.width, image.height)];
  const longSide = Math.trunc((size * long) / short);
  const [width, height] = image.width <= image.height ? [size, longSide] : [longSide, size];
  const across: Cut = { length: width, first: halfEven(width - size), count: size };
  const down: Cut = { length: height, first: halfEven(height - size), count: size };
  // Across, then down, each rounded to bytes. Since version 13 Pillow goes down first where that leaves less to do, which a
  // tall picture's hard edges show in a few pixels.
  const downFirst = height < image.height && image.height - height > 2 * (image.width - width);
  return downFirst ? resizeAcross(resizeDown(image, down), across) : resizeDown(resizeAcross(image, across), down);
}

/** An axis resized to `length`, and of that the places from `first` on. */
type Cut = { length: number; first: number; count: number };

function resizeAcross({ width: from, height, data }: RgbImage, cut: Cut): RgbImage {
  const width = cut.count;
  const out = new Uint8Array(width * height * 3);
  for (const [x, { start, weights }] of fixedWindows(from, cut).entries()) {
    for (let y = 0; y < height; y++) {
      let [r, g, b] = [HALF, HALF, HALF];
      let at = (y * from + start) * 3;
      for (let j = 0; j < weights.length; j++, at += 3) {
        const weight = weights[j] as number;
        r += weight * (data[at] as number);
        g += weight * (data[at + 1] as number);
        b += weight * (data[at + 2] as number);
      }
      const to = (y * width + x) * 3;
      out[to] = toByte(r);
      out[to + 1] = toByte(g);
      out[to + 2] = toByte(b);
    }
  }
  return { width, height, data: out };
}

function resizeDown({ width, height: from, data }: RgbImage, cut: Cut): RgbImage {
  const row = width * 3;
  const out = new Uint8Array(cut.count * row);
  for (const [y, { start, weights }] of fixedWindows(from, cut).entries()) {
    for (let i = 0; i < row; i++) {
      let sum = HALF;
      for (let j = 0; j < weights.length; j++) sum += (weights[j] as number) * (data[(start + j) * row + i] as number);
      out[y * row + i] = toByte(sum);
    }
  }
  return { width, height: cut.count, data: out };
}

/** An axis that keeps its length has windows of weight 1, which leave every byte as it is. */
function fixedWindows(from: number, { length, first, count }: Cut): Window[] {
  const fixed = (weight: number) => Math.trunc(weight * 2 ** FRACTION_BITS + (weight < 0 ? -0.5 : 0.5));
  return bicubicWindows(from, length, first, count).map(({ start, weights }) => ({ start, weights: weights.map(fixed) }));
}

function toByte(sum: number): number {
  return Math.min(255, Math.max(0, sum >> FRACTION_BITS));
}

/** Python's round(n / 2): a half goes to the even number. */
function halfEven(n: number): number {
  const down = Math.floor(n / 2);
  return n % 2 === 0 ? down : down + (down % 2);
}
