/**
 * `kenpin engine install torch`: a virtual environment in the user's cache with PyTorch, open_clip and timm, by pip from
 * whatever index this machine is configured for. What pip says becomes progress; it ends with a look at what is there.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { KenpinError } from "@kenpin/schema";
import { environmentDir, type Found, interpreter, lookAtPython, needGpus } from "./python.ts";

/** The model's own code is pinned: other versions name weights or place norms otherwise. */
const PACKAGES = ["torch>=2.9", "torchvision", "timm==1.0.31", "open_clip_torch==3.3.0", "safetensors", "numpy", "pillow"];
const CANDIDATES = ["python3.13", "python3.12", "python3.11", "python3", "python"];
const OLDEST = [3, 10] as const;
const TAIL_LIMIT = 4096;

export type InstallOptions = {
  /** Another package index than the configured one: for a build of PyTorch for the processor, or for another CUDA. */
  index?: string | undefined;
  /** Ends with an error unless a GPU can be used afterwards. */
  cuda: boolean;
  onProgress: (line: string) => void;
};

export async function installTorch({ index, cuda, onProgress }: InstallOptions): Promise<Found & { python: string; dir: string }> {
  const dir = environmentDir();
  await mkdir(dir, { recursive: true });
  const base = findPython();
  onProgress(`making a virtual environment with ${base} in ${dir}`);
  await run(base, ["-m", "venv", dir], onProgress);
  const own = join(dir, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
  const from = index === undefined ? [] : ["--index-url", index];
  await run(own, ["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", ...from, ...PACKAGES], onProgress);
  const found = await lookAtPython(own);
  if (cuda) needGpus(1, found);
  return { ...found, dir };
}

/** What is there already, for `kenpin engine show`. */
export function showTorch(): Promise<Found> {
  return lookAtPython(interpreter());
}

function findPython(): string {
  const seen: string[] = [];
  for (const name of CANDIDATES) {
    const { status, stdout } = spawnSync(name, ["-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])"], { encoding: "utf8" });
    if (status !== 0) continue;
    const [major = 0, minor = 0] = stdout.trim().split(" ").map(Number);
    if (major === OLDEST[0] && minor >= OLDEST[1]) return name;
    seen.push(`${name} is ${major}.${minor}`);
  }
  throw new KenpinError(
    "python-missing",
    `Python ${OLDEST.join(".")} or newer with venv is needed and was not found${seen.length > 0 ? ` (${seen.join(", ")})` : ""}; ` +
      "install python3 and python3-venv, then start this again",
  );
}

async function run(program: string, args: string[], onProgress: (line: string) => void): Promise<void> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let tail = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    tail = (tail + text).slice(-TAIL_LIMIT);
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (/^(Collecting|Downloading|Installing|Successfully)/.test(line.trim())) onProgress(line.trim().slice(0, 160));
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code === 0) return;
  const why = tail
    .trim()
    .split("\n")
    .filter((line) => /error/i.test(line))
    .at(-1);
  throw new KenpinError(
    "engine-not-installed",
    `${program} ${args[1]} failed: ${why ?? tail.trim().split("\n").at(-1)}; check the network and pip's index, then start this again`,
  );
}
