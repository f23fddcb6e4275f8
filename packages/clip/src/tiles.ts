/**
 * Cuts a frame into square tiles at its native resolution, because a crop can hide a defect and shrinking blurs it away.
 * In: an RGB frame and the bundle's preprocessing. Out: `pixel_values` [n, 3, S, S] float32, normalised, and where each
 * tile lies. Tiles are spaced evenly and overlap by at least `overlapPx`, so that no defect lies on a seam only.
 */
import type { Preprocess } from "@kenpin/schema";
import { type RgbImage, resizeImage } from "./image.ts";

export type Tiles = {
  pixelValues: Float32Array;
  count: number;
  /** Upper left corner of each tile in pixels of the tiled frame. */
  places: { x: number; y: number }[];
  /** Pixels of the tiled frame per pixel of the original. */
  scale: number;
  width: number;
  height: number;
};

export async function tileFrame(frame: RgbImage, preprocess: Preprocess): Promise<Tiles> {
  const scale = tilingScale(frame, preprocess);
  const side = (pixels: number) => Math.max(preprocess.tilePx, Math.round(pixels * scale));
  const image = scale === 1 ? frame : await resizeImage(frame, side(frame.width), side(frame.height));
  const places = tilePlaces(image, preprocess);
  const size = preprocess.tilePx;
  const pixelValues = new Float32Array(places.length * 3 * size * size);
  for (const [i, place] of places.entries()) normaliseTile(image, place, preprocess, pixelValues.subarray(i * 3 * size * size));
  return { pixelValues, count: places.length, places, scale, width: image.width, height: image.height };
}

export function tilePlaces({ width, height }: { width: number; height: number }, preprocess: Preprocess): { x: number; y: number }[] {
  const columns = starts(width, preprocess);
  return starts(height, preprocess).flatMap((y) => columns.map((x) => ({ x, y })));
}

/** A frame smaller than a tile is enlarged to one; one that needs too many tiles is shrunk until it does not. */
function tilingScale({ width, height }: RgbImage, preprocess: Preprocess): number {
  const { tilePx, maxTiles } = preprocess;
  if (Math.min(width, height) < tilePx) return tilePx / Math.min(width, height);
  let scale = 1;
  const tiles = () => starts(Math.round(width * scale), preprocess).length * starts(Math.round(height * scale), preprocess).length;
  while (tiles() > maxTiles && Math.min(width, height) * scale * 0.95 >= tilePx) scale *= 0.95;
  return scale;
}

function starts(length: number, { tilePx, overlapPx }: Preprocess): number[] {
  if (length <= tilePx) return [0];
  const count = Math.ceil((length - overlapPx) / (tilePx - overlapPx));
  return Array.from({ length: count }, (_, i) => Math.round((i * (length - tilePx)) / (count - 1)));
}

/** (pixel / 255 − mean) / std into planes [3, S, S]; pixels right of and below the frame stay at the mean. */
function normaliseTile(image: RgbImage, place: { x: number; y: number }, { tilePx, mean, std }: Preprocess, out: Float32Array): void {
  const rows = Math.min(tilePx, image.height - place.y);
  const columns = Math.min(tilePx, image.width - place.x);
  for (let channel = 0; channel < 3; channel++) {
    const factor = 1 / (255 * (std[channel] as number));
    const shift = (mean[channel] as number) / (std[channel] as number);
    for (let row = 0; row < rows; row++) {
      let from = ((place.y + row) * image.width + place.x) * 3 + channel;
      let to = (channel * tilePx + row) * tilePx;
      for (let column = 0; column < columns; column++, from += 3) out[to++] = (image.data[from] as number) * factor - shift;
    }
  }
}
