/**
 * Which patches a picture keeps or shows: block-wise masks for masked image modelling (BEiT, arXiv 2106.08254, algorithm 1),
 * and the choice of patch dropout (FLIP, arXiv 2212.00794). Patches are numbered row by row.
 */
import type { Random } from "@kenpin/stats";

const ASPECTS = [Math.log(0.3), Math.log(1 / 0.3)] as const;
const TRIES = 10;

/** [P] with 1 for exactly round(ratio · P) masked patches, in rectangles; single ones fill up what no rectangle fits. */
export function blockMask(grid: number, ratio: number, random: Random): Float32Array {
  const mask = new Float32Array(grid * grid);
  const wanted = Math.max(1, Math.min(mask.length - 1, Math.round(ratio * mask.length)));
  const smallest = Math.max(2, Math.round(mask.length / 16));
  let done = 0;
  for (let tries = 0; done < wanted && tries < TRIES * grid; tries++) {
    const area = random.between(Math.min(smallest, wanted - done), wanted - done + 1);
    const aspect = Math.exp(random.between(...ASPECTS));
    const [height, width] = [Math.round(Math.sqrt(area * aspect)), Math.round(Math.sqrt(area / aspect))];
    if (height < 1 || width < 1 || height > grid || width > grid) continue;
    // A block may stand over the edge, or patches in the corners would hardly ever be masked.
    const [top, left] = [random.int(grid + height - 1) - height + 1, random.int(grid + width - 1) - width + 1];
    done += fillBlock(mask, grid, { top, left, height, width }, wanted - done);
  }
  const open = random.shuffle(Array.from(mask.keys()).filter((patch) => mask[patch] === 0));
  for (const patch of open.slice(0, wanted - done)) mask[patch] = 1;
  return mask;
}

type Block = { top: number; left: number; height: number; width: number };

/** Masks a rectangle, unless it would mask more than `room` new patches; answers with how many it did. */
function fillBlock(mask: Float32Array, grid: number, { top, left, height, width }: Block, room: number): number {
  const fresh: number[] = [];
  for (let y = Math.max(0, top); y < Math.min(grid, top + height); y++) {
    for (let x = Math.max(0, left); x < Math.min(grid, left + width); x++) if (mask[y * grid + x] === 0) fresh.push(y * grid + x);
  }
  if (fresh.length > room) return 0;
  for (const patch of fresh) mask[patch] = 1;
  return fresh.length;
}

/** The round((1 − ratio) · P) patches that stay, in ascending order; null where none is dropped. */
export function keptPatches(patches: number, ratio: number, random: Random): Int32Array | null {
  const kept = Math.max(1, Math.round((1 - ratio) * patches));
  if (kept === patches) return null;
  return Int32Array.from(random.shuffle(Array.from({ length: patches }, (_, i) => i)).slice(0, kept)).sort();
}
