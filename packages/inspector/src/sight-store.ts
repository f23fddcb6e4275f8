/**
 * Keeps on disk what the tower saw of each frame, by the frame's sha256, so that judging the same frames after another teaching
 * needs no tower: an evaluation over twenty seeds looks at a picture once. In: a folder that is the caller's own and empty, and
 * the way to look. Out: the same way, which reads what it has. Past `LIMIT_BYTES` frames are looked at each time anew.
 */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";

/** A frame of 50 tiles takes some 8 MB. */
const LIMIT_BYTES = 8 * 1024 ** 3;

export function keepSights<Sight>(folder: string, see: (bytes: Uint8Array) => Promise<Sight>): (bytes: Uint8Array) => Promise<Sight> {
  const kept = new Set<string>();
  let bytesKept = 0;
  return async (bytes) => {
    const digest = createHash("sha256").update(bytes).digest("hex");
    const file = join(folder, digest);
    if (kept.has(digest)) return deserialize(await readFile(file)) as Sight;
    const sight = await see(bytes);
    const packed = serialize(sight);
    if (bytesKept + packed.length > LIMIT_BYTES) return sight;
    await writeFile(file, packed);
    kept.add(digest);
    bytesKept += packed.length;
    return sight;
  };
}
