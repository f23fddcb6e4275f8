/**
 * Cuts a frame into square tiles at its native resolution, because a crop can hide a defect and shrinking blurs it away.
 * In: an RGB frame and the bundle's preprocessing. Out: `pixel_values` [n, 3, S, S] float32, normalised, and where each
 * tile lies. Tiles are spaced evenly and overlap by at least `overlapPx`, so that no defect lies on a seam only.
 */
import type { Preprocess } from "@kenpin/schema";
import { type ImageSize, type RgbImage, resizeImage } from "./image.ts";

export type Tiles = {
  pixelValues: Float32Array;
  count: number;
  /** Upper left corner of each tile in pixels of the tiled frame. */
  places: { x: number; y: number }[];
  /** Of the tiled frame. */
  width: number;
  height: number;
};

export type TilingOptions = {
  /** The frame's size before it was shrunk while it was unpacked, see `decodeWithin`. */
  own?: ImageSize;
  /** Pixel values of an earlier frame that nobody needs any more: written over where they are as many. */
  reuse?: Float32Array | undefined;
};

export async function tileFrame(frame: RgbImage, preprocess: Preprocess, { own = frame, reuse }: TilingOptions = {}): Promise<Tiles> {
  const { width, height } = tiledSize(own, preprocess);
  const image = width === frame.width && height === frame.height ? frame : await resizeImage(frame, width, height);
  const places = tilePlaces(image, preprocess);
  const size = 3 * preprocess.tilePx ** 2;
  const fits = reuse?.length === places.length * size;
  const pixelValues = fits ? reuse : new Float32Array(places.length * size);
  const normal = normals(preprocess);
  for (const [i, place] of places.entries())
    normaliseTile(image, place, { normal, side: preprocess.tilePx, out: pixelValues, at: i * size });
  return { pixelValues, count: places.length, places, width, height };
}

export function tilePlaces({ width, height }: ImageSize, preprocess: Preprocess): { x: number; y: number }[] {
  const columns = starts(width, preprocess);
  return starts(height, preprocess).flatMap((y) => columns.map((x) => ({ x, y })));
}

/**
 * A frame smaller than a tile is enlarged to one; one that needs too many tiles is shrunk until it does not. Where both would be
 * (a line of pixels), it is shrunk, and what lacks of the tile stays grey.
 */
export function tiledSize({ width, height }: ImageSize, preprocess: Preprocess): ImageSize {
  const { tilePx, maxTiles } = preprocess;
  const at = (scale: number) => ({ width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  const tiles = (size: ImageSize) => tileCount(size.width, preprocess) * tileCount(size.height, preprocess);
  let scale = Math.max(1, tilePx / Math.min(width, height));
  while (tiles(at(scale)) > maxTiles) scale *= 0.95;
  return at(scale);
}

function tileCount(length: number, { tilePx, overlapPx }: Preprocess): number {
  return length <= tilePx ? 1 : Math.ceil((length - overlapPx) / (tilePx - overlapPx));
}

function starts(length: number, preprocess: Preprocess): number[] {
  const count = tileCount(length, preprocess);
  return count === 1 ? [0] : Array.from({ length: count }, (_, i) => Math.round((i * (length - preprocess.tilePx)) / (count - 1)));
}

/** What a channel's value becomes, (pixel / 255 − mean) / std, as `pixel · scale − shift`: a table's look-ups take half as long again. */
type Normal = { scale: number; shift: number };

function normals({ mean, std }: Preprocess): [Normal, Normal, Normal] {
  const of = (channel: 0 | 1 | 2) => ({ scale: 1 / (255 * std[channel]), shift: mean[channel] / std[channel] });
  return [of(0), of(1), of(2)];
}

type Target = { normal: [Normal, Normal, Normal]; side: number; out: Float32Array; at: number };

/** Into planes [3, S, S]; pixels right of and below the frame stay 0, the mean. */
function normaliseTile(image: RgbImage, place: { x: number; y: number }, { normal: [red, green, blue], side, out, at }: Target): void {
  const { data, width } = image;
  const rows = Math.min(side, image.height - place.y);
  const columns = Math.min(side, width - place.x);
  const plane = side * side;
  if (rows < side || columns < side) out.fill(0, at, at + 3 * plane);
  for (let row = 0; row < rows; row++) {
    let from = ((place.y + row) * width + place.x) * 3;
    let to = at + row * side;
    for (const end = to + columns; to < end; to++, from += 3) {
      out[to] = (data[from] as number) * red.scale - red.shift;
      out[to + plane] = (data[from + 1] as number) * green.scale - green.shift;
      out[to + 2 * plane] = (data[from + 2] as number) * blue.scale - blue.shift;
    }
  }
}
