/**
 * A further machine of a run over several: it draws nothing and writes nothing, its ranks join those of the first machine stage
 * by stage. In: the run folder, which the first machine fills and every machine sees at the same path. Out: when the run's
 * last stage is done, nothing; else the error that ended it.
 */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KenpinError, type Recipe } from "@kenpin/schema";
import { type Nodes, runInPython } from "./process.ts";
import { interpreter, lookAtPython, needGpus } from "./python.ts";

export type FollowOptions = {
  recipe: Pick<Recipe, "stages">;
  dir: string;
  nodes: Nodes;
  gpus: number | null;
  /** Ranks on the processor, where there is no GPU. */
  processes?: number;
  note: (line: string) => void;
  signal?: AbortSignal;
};

const LOOK_EVERY_MS = 500;
/** A stage's data may take long to make, but a first machine that says nothing for hours is gone. */
const PATIENCE_MS = 4 * 3_600_000;

export async function followRun({ recipe, dir, nodes, gpus, processes, note, signal }: FollowOptions): Promise<void> {
  const python = interpreter();
  const found = await lookAtPython(python);
  if (gpus !== null) needGpus(gpus, found);
  const ranks = processes ?? gpus ?? Math.max(1, found.gpus);
  for (const [i, { stage }] of recipe.stages.entries()) {
    const stageDir = join(dir, `${i + 1}-${stage}`);
    const [job, done] = [join(stageDir, "job.json"), join(stageDir, "done.json")];
    // A job left by a run that was cut off does no harm: no rank begins before the first machine is there, which writes it anew.
    await until(async () => (await there(done)) || (await there(job)), `the first machine to begin ${stage}`, signal);
    if (await there(done)) continue;
    note(`joins ${stage} as machine ${nodes.index} of ${nodes.count}`);
    const run = { python, dir: stageDir, ranks, nodes, draw: never, onStep: () => undefined, onEvent: () => undefined };
    await runInPython({ ...run, ...(signal && { signal }) });
    await until(() => there(done), `the first machine to finish ${stage}`, signal);
  }
}

async function until(holds: () => Promise<boolean>, what: string, signal: AbortSignal | undefined): Promise<void> {
  for (const started = Date.now(); !(await holds()); await sleep(LOOK_EVERY_MS, undefined, { signal })) {
    if (Date.now() - started > PATIENCE_MS) throw new KenpinError("engine-failed", `waited ${PATIENCE_MS / 3_600_000} hours for ${what}`);
  }
}

async function there(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

async function never(): Promise<never> {
  throw new KenpinError("invalid-input", "batches are drawn by the first machine alone");
}
