/**
 * Which patches of a tiled frame show a defect. In: the frame's mask [side²], a share of defect at each pixel, and its tiles.
 * Out: 1 for each patch of which the defect covers enough to be seen, in the order of the tiles' patches.
 */
import type { Tiles } from "@kenpin/clip";

/** A scratch two pixels wide covers a quarter of an 8-pixel patch that it crosses. */
const SEEN_RATIO = 0.15;

/** The frame must have been tiled at its own size. */
export function patchLabels(mask: Float32Array, { places, width, height }: Tiles, tilePx: number, patches: number): (0 | 1)[] {
  const grid = Math.sqrt(patches / places.length);
  const cell = tilePx / grid;
  return Array.from({ length: patches }, (_, i) => {
    const { x, y } = places[Math.floor(i / (grid * grid))] as { x: number; y: number };
    const [left, top] = [x + (i % grid) * cell, y + (Math.floor(i / grid) % grid) * cell];
    let covered = 0;
    for (let v = top; v < Math.min(height, top + cell); v++) {
      for (let u = left; u < Math.min(width, left + cell); u++) covered += mask[v * width + u] as number;
    }
    return covered >= SEEN_RATIO * cell * cell ? 1 : 0;
  });
}
