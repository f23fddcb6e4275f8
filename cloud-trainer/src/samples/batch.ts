/**
 * Generated surfaces as pictures for the tower: flips and turns, patch targets, captions and which pairs are true.
 * Surfaces are made once into a pool that a seed reproduces, then drawn from it again and again.
 */
import type { ModelConfig } from "@kenpin/clip";
import type { Random } from "@kenpin/stats";
import type { Planes } from "./defect.ts";
import type { Field } from "./field.ts";
import { type Caption, captionOf, isTrueOf, type Surface, surfaceStream } from "./generate.ts";

/** A surface as bytes: `rgb` [3, S, S] and `mask` [S, S], 0 to 255. */
export type Stored = Omit<Surface, "planes" | "mask"> & { rgb: Uint8Array; mask: Uint8Array };
/** Pictures ready for the tower, with what is known of their patches. */
export type Pictures = {
  /** [B, 3, S, S], normalised. */
  pixelValues: Float32Array;
  size: number;
  /** [B·P] 1 where a patch is defective, and each patch's weight in the loss. */
  patchTargets: Float32Array;
  patchWeights: Float32Array;
};

export function surfacePool(seed: number, side: number, count: number, onProgress: (done: number) => void): Stored[] {
  const next = surfaceStream(seed, side);
  return Array.from({ length: count }, (_, i) => {
    const { planes, mask, material, defect } = next();
    if (i % 500 === 0) onProgress(i);
    return { ...toStored(planes, mask), material, defect };
  });
}

export function toStored({ side, rgb }: Planes, mask: Field): Pick<Stored, "rgb" | "mask"> {
  const bytes = new Uint8Array(3 * side * side);
  for (const [c, plane] of rgb.entries()) bytes.set(toBytes(plane), c * side * side);
  return { rgb: bytes, mask: toBytes(mask) };
}

function toBytes(field: Field): Uint8Array {
  return Uint8Array.from(field, (value) => Math.round(value * 255));
}

/** Flips and turns each picture, but for the first `upright` ones: a real part has a way up. */
export function picturesOf(
  drawn: readonly Pick<Stored, "rgb" | "mask">[],
  config: ModelConfig,
  random: Random,
  { upright = 0 }: { upright?: number } = {},
): Pictures {
  const side = config.image.size;
  const patches = (side / config.image.patch) ** 2;
  const pixelValues = new Float32Array(drawn.length * 3 * side * side);
  const patchTargets = new Float32Array(drawn.length * patches);
  const patchWeights = new Float32Array(drawn.length * patches);
  for (const [i, { rgb, mask }] of drawn.entries()) {
    const turn = turning(side, i < upright ? 0 : random.int(8));
    for (let c = 0; c < 3; c++) {
      const [mean, std] = [config.preprocess.mean[c] as number, config.preprocess.std[c] as number];
      const to = (i * 3 + c) * side * side;
      for (let p = 0; p < turn.length; p++)
        pixelValues[to + p] = ((rgb[c * side * side + (turn[p] as number)] as number) / 255 - mean) / std;
    }
    const share = patchShares(turn, mask, side, config.image.patch);
    patchTargets.set(
      share.map((value) => Number(value > 0.25)),
      i * patches,
    );
    patchWeights.set(share.map(patchWeight), i * patches);
  }
  return { pixelValues, size: drawn.length, patchTargets, patchWeights };
}

/** A patch that is hardly touched teaches nothing sure; touched ones are rare and weigh more. */
function patchWeight(share: number): number {
  if (share > 0.25) return 4;
  return share < 0.02 ? 1 : 0;
}

/** Mean of the mask over each patch. */
function patchShares(turn: Int32Array, mask: Uint8Array, side: number, patch: number): Float32Array {
  const grid = side / patch;
  const shares = new Float32Array(grid * grid);
  for (let p = 0; p < turn.length; p++) {
    const at = Math.floor(p / side / patch) * grid + Math.floor((p % side) / patch);
    shares[at] = (shares[at] as number) + (mask[turn[p] as number] as number) / (255 * patch * patch);
  }
  return shares;
}

/** The eight ways to turn and mirror a square: for each pixel, where it comes from. */
function turning(side: number, kind: number): Int32Array {
  return Int32Array.from({ length: side * side }, (_, p) => {
    let [x, y] = [p % side, Math.floor(p / side)];
    if (kind & 1) x = side - 1 - x;
    if (kind & 2) y = side - 1 - y;
    return kind & 4 ? x * side + y : y * side + x;
  });
}

export type Range = { from: number; to: number };
/** [rows, columns] of 1 where the caption was written for the picture, and of 1 where another caption is also true of it. */
export type Relations = (rows: Range, columns: Range) => { positive: Float32Array; blocked: Float32Array };

/** Distinct captions of the pictures, and which pairs are true, asked in parts: the table of a large batch is never held whole. */
export function captionsOf(drawn: readonly Stored[], random: Random): { captions: string[]; relations: Relations } {
  const own = drawn.map((stored) => captionOf(stored, random));
  const distinct = [...new Map(own.map((caption) => [caption.text, caption])).values()];
  const relations: Relations = (rows, columns) =>
    table(rows, columns, (i, j) => {
      const caption = distinct[j] as Caption;
      if (caption.text === (own[i] as Caption).text) return "positive";
      return isTrueOf(caption, drawn[i] as Stored) ? "blocked" : null;
    });
  return { captions: distinct.map(({ text }) => text), relations };
}

/** The whole table of a small batch. */
export function captionRelations(drawn: readonly Stored[], random: Random) {
  const { captions, relations } = captionsOf(drawn, random);
  return { captions, ...relations({ from: 0, to: drawn.length }, { from: 0, to: captions.length }) };
}

export function table(
  rows: Range,
  columns: Range,
  relation: (i: number, j: number) => "positive" | "blocked" | null,
): { positive: Float32Array; blocked: Float32Array } {
  const width = columns.to - columns.from;
  const positive = new Float32Array((rows.to - rows.from) * width);
  const blocked = new Float32Array(positive.length);
  for (let i = rows.from; i < rows.to; i++) {
    for (let j = columns.from; j < columns.to; j++) {
      const found = relation(i, j);
      if (found === null) continue;
      (found === "positive" ? positive : blocked)[(i - rows.from) * width + j - columns.from] = 1;
    }
  }
  return { positive, blocked };
}
