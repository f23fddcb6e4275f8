/**
 * A training step (forward, backward, LAMB) beside PyTorch's, eager and in float32, of the same model, batch and threads:
 *   KENPIN_PYTHON=python3 node --conditions=kenpin-source test/bench/train-step.ts [--threads 2] [--rounds 5] [--model pilot] [--out FILE]
 * Both sides run in processes of their own that take turns, a few steps each, so that whatever else the machine does meets
 * both; each side also with and without the allocator's settings. Prints a table of median milliseconds and the ratio to
 * PyTorch's better one, and writes JSON. The models: the pilot (width 192, 6 blocks, 32 of 64 patches and 16 words, batch 128)
 * and the base model (batch 64).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import type { ModelConfig } from "@kenpin/clip";
import { z } from "zod";
import { TRAINER_ENVIRONMENT } from "../../cloud-trainer/src/train/trainer-environment.ts";

const BASE = join(import.meta.dirname, "../../cloud-trainer/base/config.json");
const base = JSON.parse(readFileSync(BASE, "utf8")) as ModelConfig;
const PILOT: ModelConfig = {
  ...base,
  name: "pilot",
  image: { ...base.image, size: 32, patch: 4, width: 192, depth: 6, mlpHidden: 512 },
  text: { ...base.text, width: 128, heads: 2, layers: 4, context: 16 },
};
const MODELS = [
  { config: PILOT, batch: 128, kept: 32 },
  { config: base, batch: 64, kept: 0 },
];
const WARM_UP = 3;
const STEPS_A_TURN = 3;
const Started = z.strictObject({ side: z.enum(["kenpin", "torch"]), version: z.string().max(100) });
const Turn = z.strictObject({ steps: z.array(z.number()).max(100), parts: z.array(z.number()).length(3), loss: z.number() });

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
    model: { type: "string" },
    out: { type: "string" },
  },
});
const python = process.env["KENPIN_PYTHON"];
if (!python) throw new RangeError("set KENPIN_PYTHON to a Python with torch, timm 1.0.31 and open_clip 3.3.0");
const folder = mkdtempSync(join(tmpdir(), "kenpin-step-"));
const results = [];
try {
  for (const model of MODELS.filter(({ config }) => !values.model || values.model === config.name)) results.push(await compare(model));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const report = { bench: "train-step", cpu: cpus()[0]?.model, threads: Number(values.threads), node: process.version, results };
if (values.out) writeFileSync(values.out, `${JSON.stringify(report, null, 2)}\n`);
for (const { model, batch, sides } of results) {
  process.stdout.write(`${model}, batch ${batch}\n`);
  for (const { name, medianMs, leastMs, parts, ratio } of sides) {
    const [forward, backward, optimizer] = parts.map((part) => part.toFixed(0).padStart(5));
    process.stdout.write(
      `  ${name.padEnd(34)} ${medianMs.toFixed(0).padStart(5)} ms  ${ratio.toFixed(2)}  least ${leastMs.toFixed(0).padStart(5)}  (${forward} +${backward} +${optimizer})\n`,
    );
  }
}

type Side = { name: string; child: ChildProcess; lines: AsyncIterator<string>; steps: number[]; parts: number[][] };

async function compare({ config, batch, kept }: (typeof MODELS)[number]) {
  const file = join(folder, `${config.name}.json`);
  writeFileSync(file, JSON.stringify(config));
  const args = [file, String(batch), String(kept), values.threads];
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning", join(import.meta.dirname, "train-step-worker.ts")];
  const script = join(import.meta.dirname, "train-step.py");
  const sides: Side[] = [];
  try {
    for (const [name, environment] of [
      ["", allocatorAsItIs()],
      [" with the allocator's settings", TRAINER_ENVIRONMENT],
    ] as const) {
      sides.push(await start(`kenpin${name}`, process.execPath, [...flags, ...args], environment));
      sides.push(await start(`PyTorch${name}`, python as string, [script, ...args], environment));
    }
    for (const side of sides) await turn(side, WARM_UP);
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const side of sides) {
        const { steps, parts } = await turn(side, STEPS_A_TURN);
        side.steps.push(...steps);
        side.parts.push(parts);
      }
    }
  } finally {
    for (const { child } of sides) child.kill();
  }
  const best = Math.min(...sides.filter(({ name }) => name.startsWith("PyTorch")).map(({ steps }) => median(steps)));
  const told = sides.map(({ name, steps, parts }) => ({
    name,
    medianMs: median(steps),
    leastMs: Math.min(...steps),
    ratio: median(steps) / best,
    parts: [0, 1, 2].map((part) => median(parts.map((row) => row[part] as number))),
    steps,
  }));
  return { model: config.name, batch, sides: told };
}

async function start(name: string, command: string, args: string[], environment: Readonly<Record<string, string>>): Promise<Side> {
  const threads = { OMP_NUM_THREADS: values.threads, TF_NUM_INTRAOP_THREADS: values.threads, TF_NUM_INTEROP_THREADS: "1" };
  const child = spawn(command, args, { env: { ...process.env, ...environment, ...threads }, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const side = { name, child, lines, steps: [], parts: [] };
  Started.parse(JSON.parse(await nextLine(side)));
  return side;
}

async function turn(side: Side, steps: number): Promise<z.infer<typeof Turn>> {
  if (!side.child.stdin?.write(`${steps}\n`)) await once(side.child.stdin as NodeJS.WritableStream, "drain");
  return Turn.parse(JSON.parse(await nextLine(side)));
}

async function nextLine({ lines, name }: Side): Promise<string> {
  const { value, done } = await lines.next();
  if (done) throw new RangeError(`${name} ended before it answered`);
  return value;
}

function allocatorAsItIs(): Record<string, string> {
  return Object.fromEntries(Object.entries(TRAINER_ENVIRONMENT).filter(([key]) => !key.startsWith("MALLOC_")));
}

function median(numbers: number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1] as number;
}
