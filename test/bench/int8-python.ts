/**
 * A Python that can take the standard route to 8 bits: KENPIN_PYTHON, or a virtual environment made once in the user's
 * cache. Out: how to run it, or why it cannot be had. The onnxruntime is the version that onnxruntime-node has.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export type Python = { run: (script: string, args: string[]) => string };

const CACHE = process.env["KENPIN_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "kenpin");
const PACKAGES = ["torch", "torchvision", "timm==1.0.31", "open-clip-torch==3.3.0", "onnx", "safetensors", "numpy"];
const ROOT = join(import.meta.dirname, "../..");

export function findPython(say: (line: string) => void): Python | { missing: string } {
  const named = process.env["KENPIN_PYTHON"];
  const python = named ?? join(CACHE, "bench-int8/bin/python");
  if (!named && !existsSync(python)) {
    say(`making a Python environment in ${join(CACHE, "bench-int8")}: ${PACKAGES.join(", ")} (several GB, minutes)`);
    const why = makeEnvironment(python);
    if (why !== null) return { missing: why };
  }
  const { version } = JSON.parse(readFileSync(join(ROOT, "node_modules/onnxruntime-node/package.json"), "utf8")) as { version: string };
  const runtime = join(CACHE, `bench-onnxruntime-${version}`);
  if (!existsSync(runtime)) {
    const failed = attempt(python, ["-m", "pip", "install", "--quiet", "--no-deps", "--target", runtime, `onnxruntime==${version}`]);
    if (failed !== null) return { missing: `onnxruntime ${version} cannot be installed for ${python}: ${failed}` };
  }
  const env = { ...process.env, PYTHONPATH: runtime };
  const failed = attempt(python, ["-c", "import torch, timm, open_clip, onnx, onnxruntime, safetensors"], env);
  if (failed !== null) return { missing: `${python} lacks a package: ${failed}` };
  return {
    run: (script, args) => {
      const ran = spawnSync(python, ["-W", "ignore", script, ...args], { encoding: "utf8", env, maxBuffer: 16 * 1024 * 1024 });
      if (ran.status !== 0) throw new Error(`${script} ${args[0]} failed: ${lastLine(ran.stderr)}`);
      return ran.stdout;
    },
  };
}

function makeEnvironment(python: string): string | null {
  mkdirSync(CACHE, { recursive: true });
  const made = attempt("python3", ["-m", "venv", join(CACHE, "bench-int8")]);
  if (made !== null) return `python3 makes no virtual environment: ${made}`;
  return attempt(python, ["-m", "pip", "install", "--quiet", ...PACKAGES]);
}

/** Null when it went well, else the last line of what it said. */
function attempt(program: string, args: string[], env = process.env): string | null {
  const ran = spawnSync(program, args, { encoding: "utf8", env });
  if (ran.error) return ran.error.message;
  return ran.status === 0 ? null : lastLine(ran.stderr);
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
