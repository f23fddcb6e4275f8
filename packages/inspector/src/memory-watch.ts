/**
 * Watches how much memory processes hold together, and says so once it is past a limit: a leak in a native library must end the
 * inspector, not the device. Linux only (/proc); elsewhere nothing is watched.
 */
import { readFile } from "node:fs/promises";

const EVERY_MS = 250;

export function watchMemory(
  pid: number | undefined,
  limitMb: number | undefined,
  onOver: (mb: number) => void,
): { add: (pid: number) => void; stop: () => void } {
  const pids = pid === undefined ? [] : [pid];
  if (limitMb === undefined || process.platform !== "linux") return { add: () => undefined, stop: () => undefined };
  const timer = setInterval(async () => {
    const held = await Promise.all(pids.map(residentMb));
    const mb = Math.round(held.reduce((sum, one) => sum + one, 0));
    if (mb > limitMb) onOver(mb);
  }, EVERY_MS);
  timer.unref();
  return { add: (other) => void pids.push(other), stop: () => clearInterval(timer) };
}

async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
}
