/**
 * A Python that can take the standard route to 8 bits: KENPIN_PYTHON, or a virtual environment made once in the user's
 * cache. Out: how to run it, or why it cannot be had. The onnxruntime is the version that onnxruntime-node has.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export type Python = { run: (script: string, args: string[]) => string };

const CACHE = process.env["KENPIN_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "kenpin");
const PACKAGES = ["torch", "torchvision", "timm==1.0.31", "open-clip-torch==3.3.0", "onnx", "safetensors", "numpy"];
const ROOT = join(import.meta.dirname, "../..");

export function findPython(say: (line: string) => void): Python | { missing: string } {
  const named = process.env["KENPIN_PYTHON"];
  const home = join(CACHE, "bench-int8");
  const python = named ?? join(home, "bin/python");
  // Written last: a folder that was left half made is made again.
  const made = join(home, "made");
  if (!named && !existsSync(made)) {
    say(`making a Python environment in ${home}: ${PACKAGES.join(", ")} (several GB, minutes)`);
    const why = makeEnvironment(home, python);
    if (why !== null) return { missing: `${why}; or name a Python that has those packages in KENPIN_PYTHON` };
    writeFileSync(made, "");
  }
  const { version } = JSON.parse(readFileSync(join(ROOT, "node_modules/onnxruntime-node/package.json"), "utf8")) as { version: string };
  const runtime = join(CACHE, `bench-onnxruntime-${version}`);
  if (!existsSync(runtime)) {
    const failed = pip(python, ["--no-deps", "--target", runtime, `onnxruntime==${version}`]);
    if (failed !== null) return { missing: failed };
  }
  const env = { ...process.env, PYTHONPATH: runtime };
  const failed = attempt(python, ["-c", "import torch, timm, open_clip, onnx, onnxruntime, safetensors"], env);
  if (failed !== null) return { missing: `${python} lacks a package (${failed}); it needs ${PACKAGES.join(", ")}` };
  return {
    run: (script, args) => {
      const ran = spawnSync(python, ["-W", "ignore", script, ...args], { encoding: "utf8", env, maxBuffer: 16 * 1024 * 1024 });
      if (ran.status !== 0) throw new Error(`${script} ${args[0]} failed: ${lastLine(ran.stderr)}`);
      return ran.stdout;
    },
  };
}

function makeEnvironment(home: string, python: string): string | null {
  rmSync(home, { recursive: true, force: true });
  mkdirSync(CACHE, { recursive: true });
  const failed = attempt("python3", ["-m", "venv", home]);
  if (failed !== null)
    return `python3 makes no virtual environment (${failed}); install python3 with its venv module (${PACKAGES.join(", ")} go into it)`;
  return pip(python, PACKAGES);
}

function pip(python: string, packages: string[]): string | null {
  const failed = attempt(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...packages]);
  return failed && `pip cannot install ${packages.join(", ")} (${failed}); see that pip reaches its package index`;
}

/** Null when it went well, else the line that says why not: the last one, with pip the last error. */
function attempt(program: string, args: string[], env = process.env): string | null {
  const ran = spawnSync(program, args, { encoding: "utf8", env });
  if (ran.error) return ran.error.message;
  if (ran.status === 0) return null;
  const errors = ran.stderr.split("\n").filter((line) => line.startsWith("ERROR"));
  return errors.at(-1) ?? lastLine(ran.stderr.trim() === "" ? ran.stdout : ran.stderr);
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
