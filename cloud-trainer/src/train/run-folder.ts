/**
 * The folder of one training stage: metrics.jsonl, one JSON object a step or event, and checkpoints/step-00000120/, of which
 * the last two are kept, and the last that was steady.
 * On resume the metrics are cut at the length they had when the checkpoint was made, so that no step stands there twice; a
 * checkpoint that is not whole is passed over, and what a killed process left half-written is removed.
 */
import { appendFileSync, closeSync, fsyncSync, ftruncateSync, fstatSync, openSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { errorLine } from "@kenpin/schema";
import { type Checkpoint, type CheckpointPlan, diskError, readCheckpoint, readHead, syncFolder, writeCheckpoint } from "./checkpoint.ts";

/** The error and the exit code by which a process whose memory has grown asks to be started again. */
export const RECYCLE = { error: "memory-recycle", exitCode: 75 } as const;

const KEPT = 2;
const NAME = /^step-(\d{8,16})$/;

export type PassedOver = { name: string; why: string };
export type Found = { checkpoint: Checkpoint | null; passedOver: PassedOver[] };
export type RunFolder = {
  dir: string;
  /** One line of metrics.jsonl. */
  append: (line: object) => void;
  save: (plan: Omit<CheckpointPlan, "metricsBytes">) => Promise<void>;
  /** The newest checkpoint that is whole, for a run that goes on; the metrics are cut back to it. */
  resume: () => Promise<Found>;
  /** The steady checkpoint `depth` before the newest steady one, or the oldest there is; later ones are removed. */
  goBack: (depth: number) => Promise<Found>;
  close: () => void;
};

export async function openRunFolder(dir: string): Promise<RunFolder> {
  const checkpoints = join(dir, "checkpoints");
  await mkdir(checkpoints, { recursive: true });
  for (const name of await readdir(checkpoints)) {
    if (name.startsWith(".partial-")) await rm(join(checkpoints, name), { recursive: true, force: true });
  }
  const file = join(dir, "metrics.jsonl");
  const metrics = openSync(file, "a");
  return {
    dir,
    append: (line) => {
      try {
        appendFileSync(metrics, `${JSON.stringify(line)}\n`);
      } catch (error) {
        throw diskError(error, file);
      }
    },
    save: async (plan) => {
      fsyncSync(metrics);
      await writeCheckpoint(join(checkpoints, nameOf(plan.step)), { ...plan, metricsBytes: fstatSync(metrics).size });
      await prune(checkpoints);
    },
    resume: async () => {
      const found = await newest(checkpoints);
      cut(metrics, found.checkpoint?.metricsBytes ?? 0);
      return found;
    },
    goBack: async (depth) => {
      const found = await steadyBefore(checkpoints, depth);
      if (found.checkpoint) await removeAfter(checkpoints, found.checkpoint.step);
      return found;
    },
    close: () => closeSync(metrics),
  };
}

/** Every checkpoint under `dir`, at any depth: what a run has reached, for whoever asks whether it made progress. */
export async function checkpointsUnder(dir: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true }).catch(() => []);
  return names.filter((name) => NAME.test(name.split(/[/\\]/).at(-1) as string)).sort();
}

function nameOf(step: number): string {
  return `step-${String(step).padStart(8, "0")}`;
}

/** Newest first. */
async function stepsIn(checkpoints: string): Promise<number[]> {
  const numbers = (await readdir(checkpoints)).flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number);
  return numbers.sort((a, b) => b - a);
}

async function newest(checkpoints: string): Promise<Found> {
  const passedOver: PassedOver[] = [];
  for (const step of await stepsIn(checkpoints)) {
    const checkpoint = await whole(checkpoints, step, readCheckpoint, passedOver);
    if (checkpoint) return { checkpoint, passedOver };
  }
  return { checkpoint: null, passedOver };
}

async function steadyBefore(checkpoints: string, depth: number): Promise<Found> {
  const passedOver: PassedOver[] = [];
  const steady: number[] = [];
  for (const step of await stepsIn(checkpoints)) {
    if ((await whole(checkpoints, step, readHead, passedOver))?.steady) steady.push(step);
  }
  // The wanted one first; should it be damaged, those before it, then those after it.
  const at = Math.min(depth, steady.length - 1);
  for (const step of [...steady.slice(at), ...steady.slice(0, Math.max(0, at)).reverse()]) {
    const checkpoint = await whole(checkpoints, step, readCheckpoint, passedOver);
    if (checkpoint) return { checkpoint, passedOver };
  }
  return { checkpoint: null, passedOver };
}

async function whole<T>(
  checkpoints: string,
  step: number,
  read: (folder: string) => Promise<T>,
  passedOver: PassedOver[],
): Promise<T | null> {
  try {
    return await read(join(checkpoints, nameOf(step)));
  } catch (error) {
    passedOver.push({ name: nameOf(step), why: errorLine(error) });
    return null;
  }
}

/** The last two, and the last steady one where those two are not. */
async function prune(checkpoints: string): Promise<void> {
  const steps = await stepsIn(checkpoints);
  const kept = steps.slice(0, KEPT);
  for (const step of steps) {
    if (!(await whole(checkpoints, step, readHead, []))?.steady) continue;
    kept.push(step);
    break;
  }
  const gone = steps.filter((step) => !kept.includes(step));
  for (const step of gone) await rm(join(checkpoints, nameOf(step)), { recursive: true, force: true });
  if (gone.length > 0) await syncFolder(checkpoints);
}

async function removeAfter(checkpoints: string, step: number): Promise<void> {
  for (const later of await stepsIn(checkpoints)) {
    if (later > step) await rm(join(checkpoints, nameOf(later)), { recursive: true, force: true });
  }
}

function cut(metrics: number, bytes: number): void {
  if (fstatSync(metrics).size > bytes) ftruncateSync(metrics, bytes);
}
