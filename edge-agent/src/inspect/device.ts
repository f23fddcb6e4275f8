/**
 * What this device is called where something was measured or built for it: board, processor and GPU with its driver, since an
 * engine is worth nothing on another one. Read from files; nothing is run.
 */
import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";

const BOARD = "/proc/device-tree/model";
const GPUS = "/proc/driver/nvidia/gpus/*/information";
const DRIVER = "/proc/driver/nvidia/version";

export function deviceName(): string {
  const board = read(BOARD).replaceAll("\0", "").trim();
  const processor = `${cpus()[0]?.model.trim() || process.arch} × ${availableParallelism()}`;
  const gpus = globSync(GPUS).flatMap((file) => /Model:\s+(.+)/.exec(read(file))?.[1]?.trim() ?? []);
  const driver = /Kernel Module\s+(?:for \S+\s+)?([\d.]+)/.exec(read(DRIVER))?.[1];
  return [board, processor, ...gpus, driver && `driver ${driver}`].filter(Boolean).join(", ");
}

/** Short, and fit for a folder's name. */
export function deviceDigest(): string {
  return createHash("sha256").update(deviceName()).digest("hex").slice(0, 12);
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
