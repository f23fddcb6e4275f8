/**
 * One picture of a data set with everything that is known of it, and a set of them; every reader under sets/ makes these.
 * Nothing is decoded here: `bytes` reads the file each time it is asked, and refuses it when it is no longer the one that
 * was counted. `digest` names a set in a bundle's lineage: sha256 over the sorted lines "sha256 label captions".
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { KenpinError } from "@kenpin/schema";

export type Picture = {
  /** Unique in its set and stable: a path inside the set, or a digest. */
  key: string;
  bytes: () => Promise<Uint8Array>;
  sha256: string;
  label: "good" | "bad" | null;
  /** Kind of defect. */
  defect: string | null;
  captions: string[];
  /** Ground truth: an image of the picture's size, white where the defect is. */
  mask: (() => Promise<Uint8Array>) | null;
  /** Part, lot, day or camera: what must not stand on both sides of a split. */
  group: string | null;
  /** As the set's own layout says. */
  split: "train" | "test" | null;
  /** How the picture came into the set, and with which chance a random draw takes it; null where nobody knows. */
  reason: "random" | "chosen" | null;
  drawProbability: number | null;
};

export type PictureSet = {
  name: string;
  /** Folder that the keys are paths in, where they are paths. */
  root: string | null;
  pictures: Picture[];
  digest: string;
  /** Files that are no pictures, and folders of a kind without one. */
  skipped: string[];
  emptyKinds: string[];
};

/** How far along: what is done, and of how many where that is known. */
type Progress = (done: number, of: number | null) => void;
export type ReadOptions = { onProgress?: Progress | undefined; signal?: AbortSignal | undefined };

/** A raw 20-megapixel frame is 60 MB; what is larger is no picture of a part. */
export const FILE_LIMIT_BYTES = 64 * 1024 ** 2;
/** A list of what was skipped is there to be read. */
const LISTED = 100;

export function pictureSet(parts: Omit<PictureSet, "digest" | "skipped" | "emptyKinds"> & Partial<PictureSet>): PictureSet {
  const { skipped = [], emptyKinds = [], pictures } = parts;
  return { ...parts, skipped: skipped.slice(0, LISTED), emptyKinds, digest: digestOf(pictures) };
}

function digestOf(pictures: readonly Picture[]): string {
  const hash = createHash("sha256");
  const lines = pictures.map(
    ({ sha256, label, captions }) => `${sha256} ${label} ${captions.length > 0 ? JSON.stringify(captions) : ""}\n`,
  );
  for (const line of lines.sort()) hash.update(line);
  return hash.digest("hex");
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Where a picture's bytes lie: all of a file, or a part of a shard. */
export type Place = { file: string; name: string; offset?: number; size?: number };

/** The digest of the bytes at `place`, and a way to read them again. */
export async function openPlace(place: Place): Promise<Pick<Picture, "bytes" | "sha256">> {
  const sha256 = sha256Of(await readPlace(place));
  const bytes = async () => {
    const read = await readPlace(place);
    if (sha256Of(read) === sha256) return read;
    throw new KenpinError("picture-changed", `${place.name} is not the file any more that was counted; open the set again`);
  };
  return { sha256, bytes };
}

export async function readPlace({ file, name, offset = 0, size }: Place): Promise<Uint8Array> {
  // A link put there since the folder was listed is not followed.
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: NodeJS.ErrnoException) => {
    throw new KenpinError("picture-missing", `${name} cannot be opened (${error.code}); look whether it is still there`, { cause: error });
  });
  try {
    const wanted = size ?? (await handle.stat()).size;
    if (wanted > FILE_LIMIT_BYTES) throw tooLarge(name, wanted);
    const bytes = new Uint8Array(wanted);
    const { bytesRead } = await handle.read(bytes, 0, wanted, offset);
    if (bytesRead === wanted) return bytes;
    throw new KenpinError("picture-changed", `${name} is shorter than it was when it was counted; open the set again`);
  } finally {
    await handle.close();
  }
}

export function tooLarge(name: string, bytes: number): KenpinError {
  const limit = FILE_LIMIT_BYTES / 1024 ** 2;
  return new KenpinError(
    "picture-too-large",
    `${name} has ${Math.round(bytes / 1024 ** 2)} MB, at most ${limit} MB are taken; make it smaller or leave it out`,
  );
}
