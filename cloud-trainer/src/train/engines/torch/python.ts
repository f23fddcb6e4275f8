/**
 * Which Python runs the engine, and what it has: the environment that `kenpin engine install torch` made, or the interpreter
 * that KENPIN_PYTHON names. What is missing or does not fit is said before a run is begun, each with what to do.
 */
import { execFile } from "node:child_process";
import { access } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import { z } from "zod";

/** The folder whose package is `kenpin_torch`. */
export const PACKAGE_DIR = fileURLToPath(new URL("../../../../torch", import.meta.url));

const Found = z.strictObject({
  python: z.string(),
  torch: z.string(),
  /** The CUDA that this PyTorch was built for; null for one that knows the processor only. */
  cuda: z.string().nullable(),
  gpus: z.int().min(0),
  /** Why there is no GPU although this PyTorch could use one. */
  why: z.string().nullable(),
  missing: z.array(z.string()),
});
export type Found = z.infer<typeof Found>;

const LOOK = `
import importlib.util as u, json, platform, warnings
need = ["torch", "timm", "open_clip", "safetensors", "numpy", "PIL"]
missing = [n for n in need if u.find_spec(n) is None]
out = dict(python=platform.python_version(), torch="", cuda=None, gpus=0, why=None, missing=missing)
if "torch" not in missing:
    import torch
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        out.update(torch=torch.__version__, cuda=torch.version.cuda, gpus=torch.cuda.device_count() if torch.cuda.is_available() else 0)
    out["why"] = str(seen[0].message)[:300] if seen and out["gpus"] == 0 else None
print(json.dumps(out))
`;

export function environmentDir(): string {
  return join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "kenpin", "torch");
}

export function interpreter(): string {
  return process.env["KENPIN_PYTHON"] ?? join(environmentDir(), process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
}

export async function lookAtPython(python: string): Promise<Found> {
  await access(python).catch((cause: unknown) => {
    throw new KenpinError("engine-missing", `the engine torch needs ${python}, which is not there; run: kenpin engine install torch`, {
      cause,
    });
  });
  const { stdout } = await promisify(execFile)(python, ["-c", LOOK], { maxBuffer: 1024 ** 2 }).catch((cause: unknown) => {
    throw new KenpinError("engine-missing", `${python} does not start or cannot load PyTorch; run: kenpin engine install torch`, { cause });
  });
  const found = parseAtDoor(Found, JSON.parse(stdout.trim().split("\n").at(-1) as string), `what ${python} says of itself`);
  if (found.missing.length === 0) return found;
  throw new KenpinError("engine-missing", `${python} lacks ${found.missing.join(", ")}; run: kenpin engine install torch`);
}

/** Refuses a number of GPUs that is not there, with the reason. */
export function needGpus(wanted: number, { torch, cuda, gpus, why }: Found): void {
  if (gpus >= wanted) return;
  if (cuda === null) {
    const built = `PyTorch ${torch} is built for the processor only`;
    throw new KenpinError("cuda-mismatch", `${wanted} GPUs are asked for, but ${built}; run: kenpin engine install torch --cuda`);
  }
  const reason = why ? `PyTorch ${torch} for CUDA ${cuda} says: ${why}` : `PyTorch ${torch} for CUDA ${cuda} finds no more`;
  throw new KenpinError(
    "cuda-mismatch",
    `${wanted} GPUs are asked for, ${gpus} are there; ${reason}; check the driver (nvidia-smi), or ask for fewer`,
  );
}
