/**
 * A recipe, stage by stage, in one run folder:
 *
 *   recipe.json            as run, every default filled in and every path whole
 *   environment.json       machine, back end, versions
 *   1-pretrain/ …          a folder a stage: metrics.jsonl, checkpoints/, model/ and, last, done.json
 *   model/                 the weights' folder the run ends with; its card has samples seen and forward GFLOPs × samples
 *
 * A run that was stopped anywhere goes on: finished stages are read back, the one under way from its last checkpoint.
 */
import { readFile } from "node:fs/promises";
import { arch, availableParallelism, cpus, platform, totalmem } from "node:os";
import { join } from "node:path";
import type { Recipe, RunProgress, Stage } from "@kenpin/schema";
import { z } from "zod";
import { readJsonFile } from "../json-file.ts";
import { BASE_WORDS } from "../samples/words.ts";
import { createEngine } from "../train/engines/create-engine.ts";
import type { Nodes } from "../train/engines/torch/process.ts";
import { openRunFolder } from "../train/run-folder.ts";
import { readWeightsFolder, writeWeightsFolder } from "../weights-folder.ts";
import { createDataReader, type Frame, shardFolders, shardLineage } from "./data.ts";
import { distill } from "./distill.ts";
import { pretrain } from "./pretrain.ts";
import { claimRun, writeWhole } from "./run-claim.ts";
import { counting, type Model, type StageContext, type StageResult } from "./stage-context.ts";
import { startOf } from "./start.ts";
import { train } from "./train.ts";
import { tune } from "./tune.ts";

/** What a finished stage has cost and seen; the run's card lists them. */
export const StageDone = z.strictObject({
  stage: z.string(),
  steps: z.int(),
  seconds: z.number(),
  samplesSeen: z.int(),
  skipped: z.int(),
  rollbacks: z.int(),
  backend: z.string(),
  /** Forward GFLOPs × samples, the paper's measure of compute; a teacher's share apart. */
  gflops: z.strictObject({ trained: z.number(), teacher: z.number() }),
  data: z.array(z.strictObject({ name: z.string(), sha256: z.string(), images: z.int() })),
});
export type StageDone = z.infer<typeof StageDone>;

export type RecipeRun = {
  recipe: Recipe;
  dir: string;
  /** For the engine torch: so many GPUs, each with a process of its own; without it all there are. */
  gpus?: number;
  /** Several machines; this must be the first, the others follow. */
  nodes?: Nodes;
  /** Frames of a site that no set holds: the hub's labelled samples. */
  siteFrames?: { frames: Frame[]; lineage: StageDone["data"] };
  tell: (progress: RunProgress) => void;
  note: (line: string) => void;
  signal?: AbortSignal;
};

export async function runRecipe(run: RecipeRun): Promise<{ model: Model; stages: { done: StageDone; modelDir: string }[] }> {
  const { recipe, dir } = run;
  await claimRun(dir, recipe);
  await describeMachine(dir);
  const readData = createDataReader({ note: run.note, say: (stage, done, of) => run.tell(counting(stage, done, of)) });
  const engine = await createEngine(recipe, { gpus: run.gpus ?? null, nodes: run.nodes });
  let model = await startOf(recipe);
  const stages: { done: StageDone; modelDir: string }[] = [];
  for (const [i, stage] of recipe.stages.entries()) {
    const stageDir = join(dir, `${i + 1}-${stage.stage}`);
    const modelDir = join(stageDir, "model");
    let done = await finished(stageDir);
    if (!done) {
      const shards = engine.readsShards && stage.stage === "train" ? await shardFolders(stage.data) : null;
      const data = shards ? { surfaces: [], frames: [], lineage: await shardLineage(shards) } : await readData(stage.data, model.config);
      const site = run.siteFrames;
      const seen = site ? { ...data, frames: [...data.frames, ...site.frames], lineage: [...data.lineage, ...site.lineage] } : data;
      const result = await runStage(model, stage, { ...run, engine, dir: stageDir, data: seen, shards });
      done = doneOf(stage, result, seen.lineage);
      await writeWeightsFolder(modelDir, withCard(result.model, recipe, [...stages.map((before) => before.done), done]));
      await writeWhole(join(stageDir, "done.json"), done);
    }
    model = await readWeightsFolder(modelDir);
    stages.push({ done, modelDir });
  }
  await writeWeightsFolder(join(dir, "model"), model);
  return { model, stages };
}

async function describeMachine(dir: string): Promise<void> {
  const machine = { platform: platform(), arch: arch(), node: process.version, processor: cpus()[0]?.model ?? "unknown" };
  const limits = { threads: availableParallelism(), memoryMb: Math.round(totalmem() / 2 ** 20) };
  await writeWhole(join(dir, "environment.json"), { ...machine, ...limits });
}

async function finished(stageDir: string): Promise<StageDone | null> {
  const file = join(stageDir, "done.json");
  const there = await readFile(file).catch(() => null);
  return there && readJsonFile(StageDone, file);
}

async function runStage(
  model: Model,
  stage: Stage,
  parts: RecipeRun & Pick<StageContext, "engine" | "dir" | "data" | "shards">,
): Promise<StageResult> {
  const { recipe, engine, dir, data, shards, tell, note, signal } = parts;
  const folder = await openRunFolder(dir);
  try {
    const context: StageContext = {
      recipe,
      engine,
      dir,
      data,
      shards,
      tell,
      words: recipe.words ?? BASE_WORDS,
      setup: {
        config: model.config,
        tensors: model.tensors,
        recipe: stage,
        seed: recipe.seed,
        folder,
        memoryLimitMb: recipe.memoryLimitMb,
        onStep: ({ step, steps, loss, imagesPerSecond, secondsLeft }) =>
          tell({ stage: stage.stage, step, steps, loss, imagesPerSecond, secondsLeft }),
        onEvent: ({ event, step, why }) => event !== "checkpoint" && note(`${stage.stage}, step ${step}: ${event}: ${why}`),
        ...(signal && { signal }),
      },
    };
    if (stage.stage === "pretrain") return await pretrain(model, stage, context);
    if (stage.stage === "train") return await train(model, stage, context);
    if (stage.stage === "tune") return await tune(model, stage, context);
    return await distill(model, stage, context);
  } finally {
    folder.close();
  }
}

function doneOf({ stage }: Stage, { figures, backend, gflopsPerSample }: StageResult, data: StageDone["data"]): StageDone {
  const { steps, seconds, samplesSeen, skipped, rollbacks } = figures;
  const gflops = { trained: gflopsPerSample.trained * samplesSeen, teacher: gflopsPerSample.teacher * samplesSeen };
  return { stage, steps, seconds, samplesSeen, skipped, rollbacks, backend, gflops, data };
}

/**
 * Whatever a model was trained on stands first in its provenance, one row a run; where it started from, behind. `training` has
 * what each stage of the run has seen and cost.
 */
function withCard(model: Model, { name, licence }: Recipe, stages: StageDone[]): Model {
  const { stage, data } = stages.at(-1) as StageDone;
  const seen = data.map(({ name: set, images }) => `${images} ${set}`).join(", ");
  const own = model.card.provenance.find((row) => row.name === name);
  const row = { name, licence, source: `${own ? `${own.source}; ` : ""}${stage} on ${seen || "generated surfaces"}` };
  const provenance = [row, ...model.card.provenance.filter((other) => other !== own)];
  return { ...model, card: { ...model.card, name, provenance, training: { recipe: name, stages } } };
}
