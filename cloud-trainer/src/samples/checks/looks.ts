/**
 * Looks at every picture of a set once: what it shows in numbers, or why it cannot be read; and which show the same.
 * Four files are decoded at a time (libuv has four threads); of a picture only its numbers are kept.
 */
import { decodeImage } from "@kenpin/clip";
import { errorLine } from "@kenpin/schema";
import sharp from "sharp";
import type { Picture, ReadOptions } from "../picture.ts";
import { claimedType, pictureType } from "../picture-type.ts";
import { type Look, lookAt } from "./look.ts";
import { alikePictures } from "./near-duplicates.ts";

const AT_ONCE = 4;

/** What was found at a picture's place in the set. */
export type Seen = {
  bytes: number;
  /** By its first bytes, and by its name. */
  type: string | null;
  claimed: string | null;
  look: Look | null;
  /** Why it has no look. */
  problem: string | null;
  /** Null where there is no mask, or it fits. */
  maskProblem: string | null;
};

export async function lookAtAll(pictures: readonly Picture[], { onProgress, signal }: ReadOptions = {}): Promise<Seen[]> {
  const seen = new Array<Seen>(pictures.length);
  let next = 0;
  let done = 0;
  const worker = async () => {
    for (let i = next++; i < pictures.length; i = next++) {
      signal?.throwIfAborted();
      seen[i] = await see(pictures[i] as Picture);
      onProgress?.(++done, pictures.length);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } finally {
    next = pictures.length; // where one failed, the others end with the picture in hand
  }
  return seen;
}

/** Groups of places in the set whose pictures show the same exposure. */
export function alikeAmong(seen: readonly Seen[]): number[][] {
  const looks = [...seen.entries()].flatMap(([place, { look }]) => (look ? [{ place, thumbnail: look.thumbnail }] : []));
  const groups = alikePictures(looks.map(({ thumbnail }) => thumbnail));
  return groups.map((group) => group.flatMap((k) => looks[k]?.place ?? []));
}

async function see(picture: Picture): Promise<Seen> {
  const bytes = await picture.bytes();
  const seen = {
    bytes: bytes.length,
    type: pictureType(bytes),
    claimed: claimedType(picture.key),
    look: null,
    problem: null,
    maskProblem: null,
  };
  try {
    const look = lookAt(await decodeImage(bytes));
    return { ...seen, look, maskProblem: await maskProblemOf(picture, look) };
  } catch (error) {
    return { ...seen, problem: errorLine(error) };
  }
}

async function maskProblemOf({ mask }: Picture, look: Look): Promise<string | null> {
  if (!mask) return null;
  try {
    const { width, height } = await sharp(await mask()).metadata();
    return width === look.width && height === look.height ? null : `${width} × ${height}`;
  } catch (error) {
    return errorLine(error);
  }
}
