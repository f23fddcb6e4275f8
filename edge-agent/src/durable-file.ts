/** Files that are whole and on the disk, name and all, when a call returns. */
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";

export async function writeDurably(file: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await withHandle(await open(`${file}.part`, "w"), async (handle) => {
    await handle.writeFile(bytes);
    await handle.sync();
  });
  await rename(`${file}.part`, file);
  await syncFolder(dirname(file));
}

/** A file's name lives in its folder, which has a cache of its own. */
export async function syncFolder(folder: string): Promise<void> {
  await withHandle(await open(folder, "r"), (handle) => handle.sync());
}

async function withHandle(handle: FileHandle, work: (handle: FileHandle) => Promise<void>): Promise<void> {
  try {
    await work(handle);
  } finally {
    await handle.close();
  }
}
