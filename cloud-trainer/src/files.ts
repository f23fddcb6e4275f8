/**
 * Files as import and quantization need them: read in ranges, hashed while something else happens, a folder that is whole or not there.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ByteSource } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";

export type OpenFile = { source: ByteSource; close: () => Promise<void> };

export async function openFile(path: string): Promise<OpenFile> {
  const handle = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
    throw new KenpinError("file-unreadable", `${path} cannot be opened (${error.code}); check the path`, { cause: error });
  });
  const { size } = await handle.stat();
  const read = async (offset: number, length: number) => {
    const bytes = new Uint8Array(length);
    let have = 0;
    while (have < length) {
      const { bytesRead } = await handle.read(bytes, have, length - have, offset + have);
      if (bytesRead === 0) throw new KenpinError("file-unreadable", `${path} ended at byte ${offset + have}; was it changed meanwhile?`);
      have += bytesRead;
    }
    return bytes;
  };
  return { source: { size, read }, close: () => handle.close() };
}

export async function sha256Of(path: string): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return { sha256: hash.digest("hex"), bytes };
}

/**
 * Fills a folder beside `out` and gives it its name once it is whole; a failure leaves nothing behind. `out` must be new or an
 * empty folder: a file of that name is somebody's, and is not touched.
 */
export async function wholeFolder(out: string, fill: (folder: string) => Promise<void>): Promise<void> {
  await refuseTaken(out);
  const partial = join(dirname(out), `.${basename(out)}.partial`);
  try {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    await fill(partial);
    await rmdir(out).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    await rename(partial, out);
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    throw folderError(out, error);
  }
}

async function refuseTaken(out: string): Promise<void> {
  const found = await stat(out).catch(() => null);
  if (!found) return;
  if (!found.isDirectory()) throw new KenpinError("folder-taken", `${out} is there and is no folder; name a new folder`);
  const there = (await readdir(out)).length;
  if (there > 0) throw new KenpinError("folder-not-empty", `${out} already holds ${there} files; name a new folder`);
}

/** What the system says of a place that cannot be written, in words; any other error as it is. */
function folderError(out: string, error: unknown): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT")
    return new KenpinError("disk-full", `the disk of ${out} is full; make room or name another place, then start again`, { cause: error });
  if (["EACCES", "EPERM", "EROFS", "ENOTDIR"].includes(code ?? "") && ["mkdir", "lstat", "rename", "rm", "rmdir"].includes(syscall ?? ""))
    return new KenpinError("folder-unwritable", `${out} cannot be written (${code}); name a folder in a place of yours`, { cause: error });
  return error;
}
