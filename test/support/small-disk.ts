/** A real small file system in memory, for tests of what happens when a disk is full. Needs a user who may mount one. */
import { execFileSync, spawnSync } from "node:child_process";

type SmallDisk = { resize: (size: string) => void; remove: () => void };

/** Mounts a tmpfs of `size` (as mount takes it, e.g. 256k) on `dir`; null where that is not allowed. */
export function mountSmallDisk(dir: string, size: string): SmallDisk | null {
  if (spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", dir]).status !== 0) return null;
  return {
    resize: (to) => execFileSync("mount", ["-o", `remount,size=${to}`, dir]),
    remove: () => execFileSync("umount", [dir]),
  };
}
