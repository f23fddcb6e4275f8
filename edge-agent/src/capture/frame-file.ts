/**
 * Reads one delivered file into a Frame, through one handle, so that bytes and identity are of the same file. A file over the limit is hashed in pieces and never held in memory; one that may
 * not be read has no bytes either, and both are answered `frame-unreadable`.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open, stat } from "node:fs/promises";
import { basename, extname } from "node:path";
import type { Camera } from "@kenpin/schema";
import type { Frame } from "../frame.ts";
import { cutToRegion } from "./region.ts";

/** An uncompressed 20-megapixel frame has 60 MB. */
export const FRAME_LIMIT_BYTES = 64 * 1024 * 1024;
/** As the verdict's contract has it. */
const TRIGGER_LIMIT = 200;

/** null where the file is gone, or `skip` says its time of change is known. */
export async function readFrame(camera: Camera, file: string, skip: (modifiedNs: string) => boolean): Promise<Frame | null> {
  const takenAt = performance.now();
  const handle = await open(file).catch((error: unknown) => (isGone(error) ? null : "closed"));
  if (!handle) return null;
  try {
    const found = await (handle === "closed" ? stat(file, { bigint: true }).catch(goneIsNull) : handle.stat({ bigint: true }));
    if (!found || skip(String(found.mtimeNs))) return null;
    const frame: Frame = {
      camera,
      file,
      triggerId: basename(file, extname(file)).slice(0, TRIGGER_LIMIT),
      isAsked: true,
      ...(await contents(handle, found.size > FRAME_LIMIT_BYTES)),
      unseen: "frame-unreadable",
      modifiedNs: String(found.mtimeNs),
      inode: String(found.ino),
      capturedAt: new Date(),
      takenAt,
    };
    return await cutToRegion(frame);
  } finally {
    if (handle !== "closed") await handle.close();
  }
}

/** Whether this name still leads to the very file the frame was read from. */
export async function isStillThere(file: string, { inode, modifiedNs }: Frame): Promise<boolean> {
  const found = await stat(file, { bigint: true }).catch(goneIsNull);
  return found !== null && String(found.ino) === inode && String(found.mtimeNs) === modifiedNs;
}

/** "closed": the file may not be opened. */
async function contents(handle: FileHandle | "closed", tooLarge: boolean): Promise<{ bytes: Uint8Array | null; sha256: string }> {
  const hash = createHash("sha256");
  if (handle === "closed") return { bytes: null, sha256: hash.digest("hex") };
  try {
    if (!tooLarge) {
      const bytes = await handle.readFile();
      return { bytes, sha256: hash.update(bytes).digest("hex") };
    }
    for await (const chunk of handle.createReadStream({ autoClose: false })) hash.update(chunk as Buffer);
  } catch {
    // answered as unreadable, like a file that cannot be opened
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
