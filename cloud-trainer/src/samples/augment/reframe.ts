/**
 * Where in a picture the model looks, and which way up: a random part of it (random resized crop as torchvision draws it),
 * resized to the model's square by bicubic interpolation with antialias, mirrored and turned by quarters.
 * In: RGB bytes, a mask, boxes in pixels. Out: planes [3, S, S] and [S, S] in [0, 1], boxes in pixels of the square.
 */
import { bicubicWindows, type RgbImage } from "@kenpin/clip";
import type { Random } from "@kenpin/stats";

export type Box = { x: number; y: number; width: number; height: number };
export type Frame = Box & { mirrored: boolean; quarters: number };
export type FrameOptions = { crop: readonly [number, number]; ratio: readonly [number, number]; flip: boolean; turn: boolean };

/** Areas and ratios that do not fit are drawn again this often; then the middle of the picture is taken. */
const TRIES = 10;

export function drawFrame({ width, height }: Pick<RgbImage, "width" | "height">, options: FrameOptions, random: Random): Frame {
  const crop = drawCrop(width, height, options, random);
  return { ...crop, mirrored: options.flip && random.next() < 0.5, quarters: options.turn ? random.int(4) : 0 };
}

function drawCrop(width: number, height: number, { crop, ratio }: FrameOptions, random: Random): Box {
  const [lowest, highest] = [Math.log(ratio[0]), Math.log(ratio[1])];
  for (let i = 0; i < TRIES; i++) {
    const area = random.between(crop[0], crop[1]) * width * height;
    const aspect = Math.exp(random.between(lowest, highest));
    const [w, h] = [Math.round(Math.sqrt(area * aspect)), Math.round(Math.sqrt(area / aspect))];
    if (w < 1 || h < 1 || w > width || h > height) continue;
    return { x: random.int(width - w + 1), y: random.int(height - h + 1), width: w, height: h };
  }
  const w = Math.max(1, Math.min(width, Math.round(height * ratio[1])));
  const h = Math.max(1, Math.min(height, Math.round(width / ratio[0])));
  return { x: Math.floor((width - w) / 2), y: Math.floor((height - h) / 2), width: w, height: h };
}

/** `channels` planes [C, S, S] of interleaved bytes, in [0, 1]. */
export function reframe(
  image: Pick<RgbImage, "width" | "data">,
  frame: Frame,
  { size, channels }: { size: number; channels: number },
): Float32Array {
  const rows = resizeDown(image, frame, { size, channels });
  const { starts, weights, taps } = flatWindows(frame.width, size);
  const out = new Float32Array(channels * size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const place = placeOf(x, y, size, frame);
      const from = (y * frame.width + (starts[x] as number)) * channels;
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let j = 0; j < taps; j++) sum += (weights[x * taps + j] as number) * (rows[from + j * channels + c] as number);
        // Bicubic windows swing over at hard edges; a pixel cannot.
        out[c * size * size + place] = Math.min(1, Math.max(0, sum / 255));
      }
    }
  }
  return out;
}

/** [S, w·C]: rows first, since a row's bytes lie side by side and most of the sums are made here. */
function resizeDown(
  { width, data }: Pick<RgbImage, "width" | "data">,
  frame: Frame,
  { size, channels }: { size: number; channels: number },
) {
  const { starts, weights, taps } = flatWindows(frame.height, size);
  const length = frame.width * channels;
  const rows = new Float32Array(size * length);
  for (let y = 0; y < size; y++) {
    const row = rows.subarray(y * length, (y + 1) * length);
    for (let j = 0; j < taps; j++) {
      const weight = weights[y * taps + j] as number;
      if (weight === 0) continue;
      const from = ((frame.y + (starts[y] as number) + j) * width + frame.x) * channels;
      const line = data.subarray(from, from + length);
      for (let i = 0; i < length; i++) row[i] = (row[i] as number) + weight * (line[i] as number);
    }
  }
  return rows;
}

/** Windows of one length each, so that the loops over them are plain; what a shorter one lacks has no weight. */
function flatWindows(from: number, to: number): { starts: Int32Array; weights: Float32Array; taps: number } {
  const windows = bicubicWindows(from, to);
  const taps = Math.max(...windows.map((window) => window.weights.length));
  const starts = new Int32Array(to);
  const weights = new Float32Array(to * taps);
  for (const [i, window] of windows.entries()) {
    const start = Math.min(window.start, from - taps);
    starts[i] = start;
    weights.set(window.weights, i * taps + window.start - start);
  }
  return { starts, weights, taps };
}

/** Where the pixel at x, y goes when the square is mirrored left to right, then turned clockwise. */
function placeOf(x: number, y: number, size: number, { mirrored, quarters }: Frame): number {
  const last = size - 1;
  let [px, py] = [mirrored ? last - x : x, y];
  for (let i = 0; i < quarters; i++) [px, py] = [last - py, px];
  return py * size + px;
}

/** The boxes' visible parts in the square; one that lost more than `1 − visible` of its area is gone. */
export function reframeBoxes(boxes: readonly Box[], frame: Frame, size: number, visible = 0.25): Box[] {
  const [scaleX, scaleY] = [size / frame.width, size / frame.height];
  return boxes.flatMap((box) => {
    const [left, right] = cut(box.x, box.width, frame.x, frame.width);
    const [top, bottom] = cut(box.y, box.height, frame.y, frame.height);
    if ((right - left) * (bottom - top) < visible * box.width * box.height || right <= left || bottom <= top) return [];
    let turned = { x: left * scaleX, y: top * scaleY, width: (right - left) * scaleX, height: (bottom - top) * scaleY };
    if (frame.mirrored) turned = { ...turned, x: size - turned.x - turned.width };
    for (let i = 0; i < frame.quarters; i++) {
      const { x, y, width, height } = turned;
      turned = { x: size - y - height, y: x, width: height, height: width };
    }
    return [turned];
  });
}

/** What of [from, from + length) lies in a frame's axis, counted from the frame's edge. */
function cut(from: number, length: number, edge: number, reach: number): [number, number] {
  return [Math.max(0, from - edge), Math.min(reach, from + length - edge)];
}
