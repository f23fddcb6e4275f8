/**
 * One stage in Python: the processes torchrun starts, what they print, and the batches they ask for.
 * In: a job and a function that draws a batch. Out: when they have ended well, nothing; else one error that says why.
 * When a rank dies torchrun ends the others, and all are started again here, with a rendezvous of their own (torchrun's restart
 * in place lets new ranks of the CPU back end find the addresses of dead ones); they go on from the last checkpoint.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { errorLine, KenpinError } from "@kenpin/schema";
import { z } from "zod";
import { type BatchTensor, writeBatch } from "./batch-file.ts";
import { PACKAGE_DIR } from "./python.ts";

const Tower = z.strictObject({ image: z.number(), text: z.number(), other: z.number() });
/** Python writes what JSON cannot say as NaN; such a line is no report. */
const Report = z.strictObject({
  step: z.int(),
  steps: z.int(),
  loss: z.number(),
  parts: z.record(z.string(), z.number()),
  gradientNorm: z.number(),
  norms: Tower,
  rate: z.number(),
  logitScale: z.number().nullable(),
  imagesPerSecond: z.number(),
  secondsLeft: z.number(),
  memoryMb: z.number(),
  samplesSeen: z.int(),
});
const Event = z.strictObject({
  event: z.enum(["skipped", "rolled-back", "resumed", "checkpoint", "checkpoint-broken", "batch-failed"]),
  step: z.int(),
  why: z.string(),
});
const Line = z.union([
  z.strictObject({ step: Report }),
  z.strictObject({ event: Event }),
  z.strictObject({ want: z.strictObject({ draw: z.int().min(0), progress: z.number().min(0).max(1) }) }),
  z.strictObject({ began: z.strictObject({ ranks: z.int(), device: z.string(), torch: z.string() }) }),
  z.strictObject({ ended: z.looseObject({}) }),
  z.strictObject({ refused: z.string() }),
]);

/** Several machines in one run: the first draws batches and writes the run folder, which all of them see at the same path. */
export type Nodes = {
  count: number;
  /** Of this machine, from 0. */
  index: number;
  /** host:port at which the first machine waits for the others. */
  rendezvous: string;
};
export type Draw = (draw: number, progress: number) => Promise<Readonly<Record<string, BatchTensor>>>;
export type StageProcess = {
  python: string;
  /** The stage's folder; job.json and feed/ are in it. */
  dir: string;
  /** On this machine. */
  ranks: number;
  nodes?: Nodes;
  draw: Draw;
  onStep: (report: z.infer<typeof Report>) => void;
  onEvent: (event: z.infer<typeof Event>) => void;
  signal?: AbortSignal;
};

const TAIL_LIMIT = 16 * 1024;
const RESTARTS = 3;

export function feedDir(dir: string): string {
  return join(dir, "feed");
}

/** What the ranks said they run on. */
export async function runInPython(run: StageProcess): Promise<{ device: string; torch: string }> {
  for (let restarts = 0; ; restarts++) {
    try {
      return await runOnce(run);
    } catch (error) {
      const lost = error instanceof KenpinError && error.code === "engine-failed";
      if (!lost || isAlone(run) || restarts === RESTARTS) throw error;
    }
  }
}

async function runOnce(run: StageProcess): Promise<{ device: string; torch: string }> {
  run.signal?.throwIfAborted();
  const leads = !run.nodes || run.nodes.index === 0;
  if (leads) await emptyFeed(run.dir);
  const child = start(run);
  const seen = { began: { device: "", torch: "" }, refused: "", tail: "", fed: Promise.resolve() };
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    seen.tail = (seen.tail + text).slice(-TAIL_LIMIT);
  });
  createInterface({ input: child.stdout as NonNullable<ChildProcess["stdout"]> }).on("line", (text) => {
    const line = Line.safeParse(parseJson(text));
    if (!line.success) return;
    const said = line.data;
    if ("step" in said) run.onStep(said.step);
    else if ("event" in said) run.onEvent(said.event);
    else if ("began" in said) seen.began = said.began;
    else if ("refused" in said) seen.refused = said.refused;
    else if ("want" in said) seen.fed = seen.fed.then(() => feed(run, said.want));
  });
  const stop = () => child.kill("SIGTERM");
  run.signal?.addEventListener("abort", stop, { once: true });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", (cause) => reject(new KenpinError("engine-failed", `${run.python} did not start: ${cause.message}`, { cause })));
    child.once("close", resolve);
  }).finally(() => run.signal?.removeEventListener("abort", stop));
  await seen.fed;
  if (leads) await rm(feedDir(run.dir), { recursive: true, force: true });
  run.signal?.throwIfAborted();
  if (code !== 0) throw failure(seen, code);
  return seen.began;
}

function isAlone({ ranks, nodes }: StageProcess): boolean {
  return ranks === 1 && (nodes?.count ?? 1) === 1;
}

async function emptyFeed(dir: string): Promise<void> {
  await rm(feedDir(dir), { recursive: true, force: true });
  await mkdir(feedDir(dir), { recursive: true });
}

function start(run: StageProcess): ChildProcess {
  const { python, dir, ranks, nodes } = run;
  const own = ["-m", "kenpin_torch.run", "--job", join(dir, "job.json")];
  const meeting = nodes ? meetingPlace(nodes) : ["--standalone"];
  const torchrun = ["-m", "torch.distributed.run", ...meeting, `--nproc-per-node=${ranks}`, "--max-restarts=0"];
  const { MALLOC_MMAP_MAX_: _, MALLOC_TRIM_THRESHOLD_: __, MALLOC_TOP_PAD_: ___, ...env } = process.env;
  return spawn(python, isAlone(run) ? own : [...torchrun, ...own], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...env, PYTHONPATH: PACKAGE_DIR, PYTHONUNBUFFERED: "1", KENPIN_DRIVER: String(process.pid) },
  });
}

/** A static rendezvous: rank 0 must be the first machine's, whose batches and run folder these are. */
function meetingPlace({ count, index, rendezvous }: Nodes): string[] {
  const at = rendezvous.lastIndexOf(":");
  const [address, port] = [rendezvous.slice(0, at), rendezvous.slice(at + 1)];
  return [`--nnodes=${count}`, `--node-rank=${index}`, `--master-addr=${address}`, `--master-port=${port}`];
}

async function feed({ dir, draw }: StageProcess, want: { draw: number; progress: number }): Promise<void> {
  const file = join(feedDir(dir), `draw-${String(want.draw).padStart(8, "0")}`);
  try {
    await writeBatch(`${file}.safetensors`, await draw(want.draw, want.progress));
  } catch (error) {
    await writeFile(`${file}.error`, errorLine(error));
  }
}

function failure({ refused, tail }: { refused: string; tail: string }, code: number | null): KenpinError {
  if (refused) return new KenpinError("training-refused", refused);
  const last = tail
    .trim()
    .split("\n")
    .filter((line) => /error|exception|signal/i.test(line))
    .at(-1);
  const why = last ?? tail.trim().split("\n").at(-1) ?? "";
  return new KenpinError(
    "engine-failed",
    `the training processes ended (${code ?? "by a signal"}): ${why.slice(0, 400)}; the last checkpoint is whole: start the run again to go on`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
