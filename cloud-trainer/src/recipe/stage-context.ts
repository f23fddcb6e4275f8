/** What a stage of a recipe is handed beside the model, and what it answers with. */
import type { Recipe, RunProgress, Stage } from "@kenpin/schema";
import type { Engine } from "../train/engines/engine.ts";
import type { StageOutcome, StageSetup } from "../train/engines/tfjs/stage.ts";
import type { WeightsFolder } from "../weights-folder.ts";
import type { StageData } from "./data.ts";

export type Model = Omit<WeightsFolder, "sha256">;
export type StageContext = {
  recipe: Recipe;
  engine: Engine;
  /** Where the stage keeps metrics and checkpoints. */
  dir: string;
  data: StageData;
  /** Folders of WebDataset shards that the engine reads itself; `data` then names them only. */
  shards: string[] | null;
  words: { good: string[]; bad: string[] };
  /** The stage's folder, the loop's callbacks and limits, as every engine stage wants them. */
  setup: StageSetup;
  tell: (progress: RunProgress) => void;
};
export type StageResult = {
  model: Model;
  figures: StageOutcome["figures"];
  backend: string;
  /** Forward GFLOPs a sample: what was trained, and what a teacher cost on top. */
  gflopsPerSample: { trained: number; teacher: number };
};
export type RunStage<S extends Stage> = (model: Model, stage: S, context: StageContext) => Promise<StageResult>;

export function resultOf(model: Model, outcome: StageOutcome, gflopsPerSample: StageResult["gflopsPerSample"]): StageResult {
  return { model: { ...model, tensors: outcome.tensors }, figures: outcome.figures, backend: outcome.backend, gflopsPerSample };
}

/** Progress of what is no training step: making, reading, embedding. */
export function counting(stage: string, step: number, steps: number): RunProgress {
  return { stage, step, steps, loss: null, imagesPerSecond: null, secondsLeft: null };
}
