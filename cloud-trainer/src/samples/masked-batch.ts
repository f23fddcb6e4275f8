/**
 * Batches for masked image modelling: views without labels, blocks of masked patches, and, where no teacher's features are
 * predicted, targets made of the pixels themselves.
 *
 *   pixels   the patch's own pixels, each patch at mean 0 and deviation 1 (MAE, arXiv 2111.06377)   [P, 3·p·p]
 *   hog      histogram of oriented gradients of the patch, nine directions a channel, length 1
 *            (MaskFeat, arXiv 2112.09133)                                                          [P, 27]
 */
import type { ModelConfig } from "@kenpin/clip";
import { blockMask } from "./patch-masks.ts";
import { type ViewSource, viewStream } from "./views.ts";

export type PixelTarget = "hog" | "pixels";

const DIRECTIONS = 9;

export function maskedBatches(
  source: ViewSource,
  { size, ratio, target, seed }: { size: number; ratio: number; target: PixelTarget | null; seed: number },
) {
  const draws = viewStream(source, seed);
  const { size: side, patch } = source.config.image;
  const grid = side / patch;
  return (draw: number) => {
    const { pixelValues, random } = draws(draw, size);
    const masked = new Float32Array(size * grid * grid);
    for (let i = 0; i < size; i++) masked.set(blockMask(grid, ratio, random), i * grid * grid);
    return { size, pixelValues, masked, targets: target && targetsOf(pixelValues, source.config, target) };
  };
}

export function targetLength({ image }: ModelConfig, target: PixelTarget): number {
  return target === "hog" ? 3 * DIRECTIONS : 3 * image.patch ** 2;
}

/** [B, 3, S, S] → [B·P, T]. */
export function targetsOf(pixelValues: Float32Array, config: ModelConfig, target: PixelTarget): Float32Array {
  const { size: side, patch } = config.image;
  const grid = side / patch;
  const length = targetLength(config, target);
  const pictures = pixelValues.length / (3 * side * side);
  const out = new Float32Array(pictures * grid * grid * length);
  const describe = target === "hog" ? orientations : normalPixels;
  for (let row = 0; row < pictures * grid * grid; row++) {
    const [picture, y, x] = [Math.floor(row / (grid * grid)), Math.floor(row / grid) % grid, row % grid];
    const planes = [0, 1, 2].map((c) => pixelValues.subarray((picture * 3 + c) * side * side, (picture * 3 + c + 1) * side * side));
    out.set(describe(planes, { side, patch, top: y * patch, left: x * patch }), row * length);
  }
  return out;
}

type Place = { side: number; patch: number; top: number; left: number };

function normalPixels(planes: Float32Array[], { side, patch, top, left }: Place): Float32Array {
  const values = new Float32Array(3 * patch * patch);
  for (let i = 0; i < values.length; i++) {
    const [c, y, x] = [Math.floor(i / (patch * patch)), Math.floor(i / patch) % patch, i % patch];
    values[i] = (planes[c] as Float32Array)[(top + y) * side + left + x] as number;
  }
  return standardised(values);
}

function standardised(values: Float32Array): Float32Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return values.map((value) => (value - mean) / (deviation + 1e-6));
}

/** Directions are without sign, from 0 to π; a gradient counts by its strength in its nearest direction. */
function orientations(planes: Float32Array[], { side, patch, top, left }: Place): Float32Array {
  const histogram = new Float32Array(3 * DIRECTIONS);
  for (const [c, plane] of planes.entries()) {
    const at = (y: number, x: number) => plane[Math.min(side - 1, Math.max(0, y)) * side + Math.min(side - 1, Math.max(0, x))] as number;
    for (let y = top; y < top + patch; y++) {
      for (let x = left; x < left + patch; x++) {
        const [dx, dy] = [at(y, x + 1) - at(y, x - 1), at(y + 1, x) - at(y - 1, x)];
        const turn = (Math.atan2(dy, dx) / Math.PI + 1) % 1;
        const bin = c * DIRECTIONS + (Math.floor(turn * DIRECTIONS) % DIRECTIONS);
        histogram[bin] = (histogram[bin] as number) + Math.hypot(dx, dy);
      }
    }
  }
  const norm = Math.hypot(...histogram);
  return histogram.map((value) => value / (norm + 1e-6));
}
