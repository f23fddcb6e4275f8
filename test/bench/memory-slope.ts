/**
 * Does a long training grow? The base model's size in steps as `kenpin train` takes them, on generated surfaces, with checkpoints:
 *   node --conditions=kenpin-source test/bench/memory-slope.ts [--minutes 60] [--batch 64] [--out FILE]
 * Trains in a process of its own with the trainer's environment, samples its resident memory once a second, leaves the warm-up
 * out (the first tenth, at least three minutes), and prints JSON: slope in MB an hour with its 95 % interval, by linear regression
 * and a moving-block bootstrap of its residuals (Künsch 1989), because neighbouring samples are alike.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { createTokenizer, parseModelConfig } from "@kenpin/clip";
import { TrainStage } from "@kenpin/schema";
import { createRandom, quantile } from "@kenpin/stats";
import { surfacePool } from "../../cloud-trainer/src/samples/batch.ts";
import { captionedBatches, surfaceSource } from "../../cloud-trainer/src/samples/captioned-batch.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { trainContrastive } from "../../cloud-trainer/src/train/engines/tfjs/contrastive.ts";
import { drawTensors } from "../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { openRunFolder } from "../../cloud-trainer/src/train/run-folder.ts";
import { TRAINER_ENVIRONMENT } from "../../cloud-trainer/src/train/trainer-environment.ts";

type Sample = { seconds: number; mb: number; jsMb: number };

const CONFIG = join(import.meta.dirname, "../../cloud-trainer/base/config.json");
const LEAST_WARM_UP_SECONDS = 180;
const BLOCK_SECONDS = 30;
const RESAMPLES = 2000;
const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    batch: { type: "string", default: "64" },
    out: { type: "string" },
    child: { type: "string" },
  },
});
const [minutes, batch] = [Number(values.minutes), Number(values.batch)];

if (values.child) await train(values.child);
else await measure();

async function train(dir: string): Promise<void> {
  const config = parseModelConfig(JSON.parse(readFileSync(CONFIG, "utf8")), "the base model");
  const recipe = TrainStage.parse({ stage: "train", seconds: minutes * 60, batch, checkpointEvery: 100 });
  const pool = surfacePool(1, config.image.size, 1000, () => undefined);
  const folder = await openRunFolder(dir);
  const { figures } = await trainContrastive({
    config,
    tensors: drawTensors(config, 1),
    recipe,
    seed: 1,
    folder,
    memoryLimitMb: null,
    batchAt: captionedBatches([surfaceSource(pool, config, 1)], { config, size: batch, dropout: recipe.patchDropout, seed: 1 }),
    tokenizer: createTokenizer(config.text),
    words: BASE_WORDS,
    loss: recipe.loss,
    patchLoss: recipe.patchLoss,
    microBatch: recipe.microBatch,
    onStep: ({ step }) => process.stdout.write(`${step} ${javaScriptMb()}\n`),
    onEvent: () => undefined,
  });
  folder.close();
  process.stdout.write(`${JSON.stringify({ skipped: figures.skipped, rollbacks: figures.rollbacks })}\n`);
}

async function measure(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "kenpin-bench-"));
  try {
    const args = [...process.execArgv, import.meta.filename, "--child", dir, "--minutes", String(minutes), "--batch", String(batch)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...TRAINER_ENVIRONMENT, ...process.env } });
    let [steps, jsMb] = [0, 0];
    let trouble: unknown = null;
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.startsWith("{")) trouble = JSON.parse(line);
      else [steps, jsMb] = line.split(" ").map(Number) as [number, number];
    });
    const samples: Sample[] = [];
    let began: number | null = null;
    const timer = setInterval(async () => {
      if (steps === 0) return;
      began ??= performance.now();
      const seconds = (performance.now() - began) / 1000;
      const mb = await residentMb(child.pid as number);
      if (mb !== null) samples.push({ seconds, mb, jsMb });
    }, 1000);
    const code = await new Promise((resolve) => child.once("close", resolve));
    clearInterval(timer);
    if (code !== 0) throw new Error(`the training ended with code ${String(code)}`);
    await report(samples, { steps, trouble });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function report(samples: Sample[], run: { steps: number; trouble: unknown }): Promise<void> {
  const warmUp = Math.max(LEAST_WARM_UP_SECONDS, minutes * 6);
  const settled = samples.filter(({ seconds }) => seconds >= warmUp);
  const { slope, low, high } = slopeWithInterval(settled);
  const hourly = (perSecond: number) => Number((perSecond * 3600).toFixed(2));
  const result = {
    bench: "memory-slope",
    node: process.version,
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    batch,
    minutes,
    ...run,
    warmUpSeconds: warmUp,
    samples: settled.length,
    mbPerHour: { slope: hourly(slope), low: hourly(low), high: hourly(high) },
    memoryMb: { first: settled[0]?.mb, last: settled.at(-1)?.mb, largest: Math.max(...samples.map(({ mb }) => mb)) },
    byMinute: byMinute(samples),
  };
  const text = `${JSON.stringify(result, null, 2)}\n`;
  if (values.out) await writeFile(values.out, text);
  process.stdout.write(text);
}

/** Medians of each minute: all of it, and what V8 has of it. */
function byMinute(samples: readonly Sample[]): [mb: number, jsMb: number][] {
  const minutesSeen = Map.groupBy(samples, ({ seconds }) => Math.floor(seconds / 60));
  const median = (of: readonly number[]) => Math.round(quantile(of, 0.5));
  return [...minutesSeen.values()].map((some) => [median(some.map(({ mb }) => mb)), median(some.map(({ jsMb }) => jsMb))]);
}

function javaScriptMb(): number {
  const { heapTotal, external } = process.memoryUsage();
  return (heapTotal + external) / 2 ** 20;
}

async function residentMb(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const kb = /VmRSS:\s+(\d+)/.exec(text)?.[1];
  return kb === undefined ? null : Number(kb) / 1024;
}

function slopeWithInterval(samples: readonly Sample[]): { slope: number; low: number; high: number } {
  const x = samples.map(({ seconds }) => seconds);
  const fit = regression(
    x,
    samples.map(({ mb }) => mb),
  );
  const fitted = x.map((seconds) => fit.intercept + fit.slope * seconds);
  const residuals = samples.map(({ mb }, i) => mb - (fitted[i] as number));
  const random = createRandom(1);
  const block = Math.min(BLOCK_SECONDS, samples.length);
  const slopes = Array.from({ length: RESAMPLES }, () => {
    const drawn: number[] = [];
    while (drawn.length < samples.length) {
      const from = random.int(residuals.length - block + 1);
      drawn.push(...residuals.slice(from, from + block));
    }
    return regression(
      x,
      fitted.map((value, i) => value + (drawn[i] as number)),
    ).slope;
  });
  return { slope: fit.slope, low: quantile(slopes, 0.025), high: quantile(slopes, 0.975) };
}

function regression(x: readonly number[], y: readonly number[]): { slope: number; intercept: number } {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(x), mean(y)];
  const products = x.reduce((sum, value, i) => sum + (value - mx) * ((y[i] as number) - my), 0);
  const squares = x.reduce((sum, value) => sum + (value - mx) ** 2, 0);
  const slope = products / squares;
  return { slope, intercept: my - slope * mx };
}
