/**
 * Pictures to calibrate on: frames of the line as they come, cut into tiles as the inspector cuts them.
 * In: a folder, its subfolders too. Out: tiles [3, S, S], spread over all pictures, and warnings. No readable picture at
 * all is an error; a few unreadable ones, or a handful in all, are said and lived with.
 */
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { decodeImage, tileFrame } from "@kenpin/clip";
import { KenpinError, type Preprocess } from "@kenpin/schema";

export type CalibrationSet = { tiles: Float32Array[]; pictures: number; warnings: string[] };

const PICTURE = /\.(jpe?g|png|webp|tiff?|gif|bmp)$/i;
/** Below this many the ranges rest on too little; the SmoothQuant and TensorRT guides take hundreds. */
const FEW = 16;
const TILES_A_PICTURE = 4;
const NAMED = 3;

export async function readCalibration(dir: string, preprocess: Preprocess, limit: number): Promise<CalibrationSet> {
  const files = await picturesIn(dir);
  if (files.length === 0)
    throw new KenpinError(
      "calibration-empty",
      `${dir} holds no pictures (JPEG, PNG, WebP, TIFF, GIF or BMP); name a folder of frames from the line`,
    );
  const tiles: Float32Array[] = [];
  const unreadable: { name: string; why: string }[] = [];
  let pictures = 0;
  const chosen = spread(files, limit);
  for (const file of chosen) {
    try {
      tiles.push(...(await tilesOf(await readFile(file), preprocess)));
      pictures++;
    } catch (error) {
      unreadable.push({ name: relative(dir, file), why: ((error as Error).message.split("\n")[0] as string).replace(/; expected .*/, "") });
    }
  }
  if (pictures === 0)
    throw new KenpinError(
      "calibration-unreadable",
      `none of the ${unreadable.length} pictures in ${dir} can be read; ${unreadable[0]?.name}: ${unreadable[0]?.why}; copy them again`,
    );
  const warnings: string[] = [];
  if (unreadable.length > 0) {
    const named = unreadable.slice(0, NAMED).map(({ name }) => name);
    const more = unreadable.length > NAMED ? ` and ${unreadable.length - NAMED} more` : "";
    const first = `${unreadable[0]?.name}: ${unreadable[0]?.why}`;
    warnings.push(`${unreadable.length} of ${chosen.length} pictures left out, they cannot be read: ${named.join(", ")}${more} (${first})`);
  }
  if (pictures < FEW)
    warnings.push(`${pictures} pictures are few to calibrate on: ranges may be too narrow for the line; give ${FEW} or more`);
  return { tiles, pictures, warnings };
}

async function picturesIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    throw new KenpinError("calibration-missing", `${dir} cannot be opened (${error.code}); name a folder of pictures`, { cause: error });
  });
  return entries
    .filter((entry) => entry.isFile() && PICTURE.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

async function tilesOf(bytes: Uint8Array, preprocess: Preprocess): Promise<Float32Array[]> {
  const { pixelValues, count } = await tileFrame(await decodeImage(bytes), preprocess);
  const size = pixelValues.length / count;
  return spread(
    Array.from({ length: count }, (_, i) => pixelValues.slice(i * size, (i + 1) * size)),
    TILES_A_PICTURE,
  );
}

/** Up to `limit` of them, evenly. */
function spread<T>(items: T[], limit: number): T[] {
  if (items.length <= limit) return items;
  return Array.from({ length: limit }, (_, i) => items[Math.floor((i * items.length) / limit)] as T);
}
