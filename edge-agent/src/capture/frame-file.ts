/**
 * Reads one delivered file into a Frame. A file over the limit is hashed in pieces and never held in memory; one that may
 * not be read has no bytes either, and both are answered `frame-unreadable`.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, extname } from "node:path";
import type { Camera } from "@kenpin/schema";
import type { Frame } from "../frame.ts";

/** An uncompressed 20-megapixel frame has 60 MB. */
export const FRAME_LIMIT_BYTES = 64 * 1024 * 1024;
/** As the verdict's contract has it. */
const TRIGGER_LIMIT = 200;

/** null where the file is gone, or `skip` says its time of change is known. */
export async function readFrame(camera: Camera, file: string, skip: (modifiedNs: string) => boolean): Promise<Frame | null> {
  const takenAt = performance.now();
  const found = await stat(file, { bigint: true }).catch(goneIsNull);
  if (!found || skip(String(found.mtimeNs))) return null;
  const read = await contents(file, found.size > FRAME_LIMIT_BYTES).catch(goneIsNull);
  if (!read) return null;
  return {
    camera,
    file,
    triggerId: basename(file, extname(file)).slice(0, TRIGGER_LIMIT),
    ...read,
    modifiedNs: String(found.mtimeNs),
    capturedAt: new Date(),
    takenAt,
  };
}

async function contents(file: string, tooLarge: boolean): Promise<{ bytes: Uint8Array | null; sha256: string }> {
  const hash = createHash("sha256");
  try {
    if (!tooLarge) {
      const bytes = await readFile(file);
      return { bytes, sha256: hash.update(bytes).digest("hex") };
    }
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  } catch (error) {
    if (isGone(error)) throw error;
  }
  return { bytes: null, sha256: hash.digest("hex") };
}

function goneIsNull(error: unknown): null {
  if (isGone(error)) return null;
  throw error;
}

function isGone(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
