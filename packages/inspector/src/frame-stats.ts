/**
 * What a picture looks like before any model: what black, over-exposed, blurred and frozen frames lack, and by which a camera is
 * told when it shows something else than it used to. In: an image. Out: FrameStats, brightness in [0, 255]. Pure.
 */
import type { RgbImage } from "@kenpin/clip";

export type FrameStats = {
  /** Of brightness (green), and its deviation. */
  mean: number;
  contrast: number;
  /** Mean absolute Laplacian. */
  sharpness: number;
  /** Share of pixels at the upper end of the scale, where nothing of a surface is left. */
  clipped: number;
  /** Mean of red minus green, and of blue minus green: 0 where the picture is grey. */
  colour: { red: number; blue: number };
};

/** JPEG and resizing spread what the sensor clipped by a few levels. */
const CLIPPED_FROM = 250;
/** Pixels that are looked at: rows and columns are left out beyond it. */
const LOOKED_AT = 65_536;

export function frameStats({ width, height, data }: RgbImage): FrameStats {
  let [sum, squares, edges, edgeCount, clipped, red, blue] = [0, 0, 0, 0, 0, 0, 0];
  const row = width * 3;
  const stride = Math.max(1, Math.floor(Math.sqrt((width * height) / LOOKED_AT)));
  let count = 0;
  for (let y = 0; y < height; y += stride) {
    const innerRow = y > 0 && y < height - 1;
    for (let x = 0, at = y * row + 1; x < width; x += stride, at += 3 * stride) {
      const value = data[at] as number;
      sum += value;
      squares += value * value;
      red += (data[at - 1] as number) - value;
      blue += (data[at + 1] as number) - value;
      if (value >= CLIPPED_FROM) clipped++;
      count++;
      if (!innerRow || x === 0 || x === width - 1) continue;
      const around = (data[at - 3] as number) + (data[at + 3] as number) + (data[at - row] as number) + (data[at + row] as number);
      edges += Math.abs(4 * value - around);
      edgeCount++;
    }
  }
  const mean = sum / count;
  return {
    mean,
    contrast: Math.sqrt(Math.max(0, squares / count - mean * mean)),
    sharpness: edges / Math.max(1, edgeCount),
    clipped: clipped / count,
    colour: { red: red / count, blue: blue / count },
  };
}
