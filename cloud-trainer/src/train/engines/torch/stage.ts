/**
 * A stage of a recipe on PyTorch: the same setup that the engine tfjs takes, as a job for the Python side and batches in files.
 * In: weights, the stage of the recipe, batches by draw. Out: the weights it ends with, in the same run folder's layout.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bytesSource, encodeSafetensors, type ModelConfig, readAllTensors, type Tensor } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { z } from "zod";
import { readJsonFile } from "../../../json-file.ts";
import type { StageOutcome, StageSetup } from "../tfjs/stage.ts";
import { type Draw, feedDir, type Nodes, runInPython } from "./process.ts";
import { interpreter, lookAtPython, needGpus } from "./python.ts";

/** How the stages run: on so many GPUs, or, where there is none, in so many processes on the processor. */
export type TorchOptions = {
  gpus: number | null;
  processes?: number;
  precision: "bf16" | "float32";
  compile: boolean;
  nodes?: Nodes | undefined;
};

const Figures = z.strictObject({
  steps: z.int(),
  samplesSeen: z.int(),
  seconds: z.number(),
  skipped: z.int(),
  rollbacks: z.int(),
  resumedAt: z.int().nullable(),
});

type JobParts = { teacher?: { config: ModelConfig; weights: string } | { length: number }; [field: string]: unknown };
type StageJob = { stage: string; setup: StageSetup; own?: ReadonlyMap<string, Tensor>; parts: JobParts; draw: Draw };

export async function runTorchStage(options: TorchOptions, { stage, setup, own, parts, draw }: StageJob): Promise<StageOutcome> {
  const { folder, config, tensors, recipe, seed, signal, onStep, onEvent } = setup;
  if (!folder) throw new KenpinError("invalid-input", "the engine torch needs a run folder");
  const python = interpreter();
  const found = await lookAtPython(python);
  if (options.gpus !== null) needGpus(options.gpus, found);
  const onGpu = found.gpus > 0 && options.processes === undefined;
  const weights = await writeWeights(join(folder.dir, "start.safetensors"), new Map([...tensors, ...(own ?? [])]), config);
  const job = {
    stage,
    config,
    weights,
    folder: folder.dir,
    recipe,
    seed,
    data: { batches: feedDir(folder.dir), fed: true },
    precision: options.precision,
    compile: options.compile && onGpu,
    device: onGpu ? null : "cpu",
    ...parts,
  };
  await writeFile(join(folder.dir, "job.json"), JSON.stringify(job));
  const ranks = options.processes ?? options.gpus ?? Math.max(1, found.gpus);
  const began = await runInPython({
    python,
    dir: folder.dir,
    ranks,
    draw,
    onStep,
    onEvent,
    ...(signal && { signal }),
    ...(options.nodes && { nodes: options.nodes }),
  });
  const out = join(folder.dir, "out");
  const all = await readAllTensors(bytesSource(await readFile(join(out, "model.safetensors"))));
  const figures = await readJsonFile(Figures, join(out, "figures.json"));
  // What it ended with is the caller's to keep; a stage done again starts from weights written again.
  const teacher = parts.teacher && "weights" in parts.teacher ? [parts.teacher.weights] : [];
  for (const path of [out, weights, ...teacher]) await rm(path, { recursive: true, force: true });
  return {
    tensors: new Map([...tensors.keys()].map((name) => [name, all.get(name) as Tensor])),
    extra: new Map([...all].filter(([name]) => !tensors.has(name))),
    figures,
    backend: `torch ${began.torch} on ${began.device}, ${described(ranks, options.nodes?.count ?? 1)}`,
  };
}

function described(ranks: number, nodes: number): string {
  const each = ranks === 1 ? "one process" : `${ranks} processes`;
  return nodes === 1 ? each : `${each} on each of ${nodes} machines`;
}

/** One file, by open_clip's names: what a stage starts from, or a teacher. */
export async function writeWeights(file: string, tensors: ReadonlyMap<string, Tensor>, config: ModelConfig): Promise<string> {
  await writeFile(file, encodeSafetensors(tensors, { model: config.name }));
  return file;
}
