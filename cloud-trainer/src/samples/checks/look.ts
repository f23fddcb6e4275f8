/**
 * What a decoded picture looks like, in a few numbers. In: RGB bytes. Out: grey levels 0 to 255 (mean, share of clipped
 * pixels), sharpness (variance of the Laplacian over the variance of the picture: no unit, falls when it is blurred; Pertuz
 * et al. 2013, LAP4), and a thumbnail of mean grey levels by which pictures are compared.
 */
import { createHash } from "node:crypto";
import type { RgbImage } from "@kenpin/clip";

export const THUMB = { width: 18, height: 16 } as const;
/** Finer detail than this says more of the sensor's noise than of the lens. */
const LARGEST_SIDE = 1024;
const BRIGHT = 250;
/** Variance that rounding to whole levels alone (1/12 each) gives the Laplacian, whose squared weights sum to 20. */
const ROUNDING = 20 / 12;

export type Look = {
  width: number;
  height: number;
  mean: number;
  /** Grey level that 99 of 100 pixels do not exceed. */
  brightest: number;
  brightShare: number;
  sharpness: number;
  /** [16, 18] mean grey level of each field, times 256. */
  thumbnail: Uint16Array;
  /** Digest of the pixels: the same picture, however its file was packed. */
  pixels: string;
};
type Grey = { width: number; height: number; data: Uint8Array };

export function lookAt(image: RgbImage): Look {
  const grey = greyOf(image, Math.ceil(Math.max(image.width, image.height) / LARGEST_SIDE));
  return {
    width: image.width,
    height: image.height,
    ...levelsOf(grey),
    sharpness: sharpnessOf(grey),
    thumbnail: thumbnailOf(grey),
    pixels: createHash("sha256").update(`${image.width} ${image.height} `).update(image.data).digest("base64"),
  };
}

/** Luma (ITU-R BT.601) of blocks of `step` pixels. */
function greyOf({ width, height, data }: RgbImage, step: number): Grey {
  const [w, h] = [Math.max(1, Math.floor(width / step)), Math.max(1, Math.floor(height / step))];
  const out = new Uint8Array(w * h);
  const area = step * step;
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      let sum = 0;
      for (let dy = 0; dy < step; dy++) {
        let at = ((y * step + dy) * width + x * step) * 3;
        for (let dx = 0; dx < step; dx++, at += 3) {
          sum += 0.299 * (data[at] as number) + 0.587 * (data[at + 1] as number) + 0.114 * (data[at + 2] as number);
        }
      }
      out[y * w + x] = Math.round(sum / area);
    }
  }
  return { width: w, height: h, data: out };
}

function levelsOf({ data }: Grey): Pick<Look, "mean" | "brightest" | "brightShare"> {
  const counts = new Uint32Array(256);
  for (const level of data) counts[level] = (counts[level] as number) + 1;
  let [sum, seen, brightest, bright] = [0, 0, 0, 0];
  for (const [level, count] of counts.entries()) {
    sum += level * count;
    if (seen < 0.99 * data.length) brightest = level;
    seen += count;
    if (level >= BRIGHT) bright += count;
  }
  return { mean: sum / data.length, brightest, brightShare: bright / data.length };
}

function sharpnessOf({ width, height, data }: Grey): number {
  if (width < 3 || height < 3) return 0;
  let [edges, edges2, level, level2] = [0, 0, 0, 0];
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1, at = y * width + 1; x < width - 1; x++, at++) {
      const here = data[at] as number;
      const around = (data[at - 1] as number) + (data[at + 1] as number) + (data[at - width] as number) + (data[at + width] as number);
      const edge = around - 4 * here;
      edges += edge;
      edges2 += edge * edge;
      level += here;
      level2 += here * here;
    }
  }
  const n = (width - 2) * (height - 2);
  const spread = level2 / n - (level / n) ** 2;
  return spread < 1e-6 ? 0 : Math.max(0, edges2 / n - (edges / n) ** 2 - ROUNDING) / spread;
}

/** A picture smaller than the thumbnail repeats its pixels. */
function thumbnailOf({ width, height, data }: Grey): Uint16Array {
  const out = new Uint16Array(THUMB.width * THUMB.height);
  for (let row = 0; row < THUMB.height; row++) {
    const [top, bottom] = span(row, THUMB.height, height);
    for (let column = 0; column < THUMB.width; column++) {
      const [left, right] = span(column, THUMB.width, width);
      let sum = 0;
      for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += data[y * width + x] as number;
      out[row * THUMB.width + column] = Math.round((sum / ((bottom - top) * (right - left))) * 256);
    }
  }
  return out;
}

function span(place: number, of: number, length: number): [number, number] {
  const from = Math.min(length - 1, Math.floor((place * length) / of));
  return [from, Math.max(from + 1, Math.floor(((place + 1) * length) / of))];
}
