/**
 * What every stage of this engine has in common: the recipe's optimizer with its parameter groups, the moving average, the
 * loop, and the weights it ends with. A stage adds only its weights, its batches and its objective.
 */
import type { ModelConfig, Tensor as PlainTensor } from "@kenpin/clip";
import type { OptimizerRecipe, StabilityRecipe } from "@kenpin/schema";
import type { RunFolder } from "../../run-folder.ts";
import { loadBackend, type Tf } from "./backend.ts";
import type { Weights } from "./layers.ts";
import type { Objective } from "./objective.ts";
import { createOptimizer, type OptimizerOptions } from "./optimizer.ts";
import { parameterShare } from "./parameter-groups.ts";
import { runSteps, type StageEvent, type StageFigures, type StepReport } from "./steps.ts";
import { createWeightAverage } from "./weight-average.ts";
import { toTensors } from "./weights.ts";

export type StageSetup = {
  config: ModelConfig;
  /** The weights to start from, by open_clip's names. */
  tensors: ReadonlyMap<string, PlainTensor>;
  recipe: {
    steps?: number | undefined;
    seconds?: number | undefined;
    optimizer: OptimizerRecipe;
    stability: StabilityRecipe;
    checkpointEvery: number;
    recompute: boolean;
  };
  seed: number;
  folder: RunFolder | null;
  memoryLimitMb: number | null;
  onStep: (report: StepReport) => void;
  onEvent: (event: StageEvent) => void;
  signal?: AbortSignal;
};
export type StageOutcome = {
  /** The weights trained, the moving average where the recipe wants it; training-only ones (mask token, biases) are in `extra`. */
  tensors: Map<string, PlainTensor>;
  extra: Map<string, PlainTensor>;
  figures: StageFigures;
  backend: string;
};

export async function runStage<B extends { size: number }>(
  setup: StageSetup,
  {
    tf,
    weights,
    objective,
    batchAt,
    share = () => 1,
  }: {
    tf: Tf;
    weights: Weights;
    objective: Objective<B>;
    batchAt: (draw: number, progress: number) => B | Promise<B>;
    /** A stage's own weights may want another part of the rate. */
    share?: (name: string) => number;
  },
): Promise<StageOutcome> {
  const { name: backend } = await loadBackend();
  const { recipe, config, tensors, folder, memoryLimitMb, onStep, onEvent, signal } = setup;
  const { rates, layerDecay, plainShare, warmup, floor, average: decay } = recipe.optimizer;
  // The schedule gives shares of one; each tower's rate comes with its parameters.
  const ofTower = parameterShare({ config, rates, layerDecay, plain: plainShare });
  const optimizer = createOptimizer(tf, weights, optimizerOptions(recipe.optimizer), (name) => ofTower(name) * share(name));
  const average = decay === null ? null : createWeightAverage(tf, weights, { decay });
  const figures = await runSteps<B>({
    tf,
    weights,
    optimizer,
    average,
    batchAt,
    objective,
    length: recipe.steps !== undefined ? { steps: recipe.steps } : { seconds: recipe.seconds as number },
    schedule: { rate: 1, warmup, floor },
    stability: recipe.stability,
    folder,
    checkpointEvery: recipe.checkpointEvery,
    memoryLimitMb,
    onStep,
    onEvent,
    ...(signal && { signal }),
  });
  const all = average?.tensors() ?? toTensors(weights);
  const ended = new Map([...tensors.keys()].map((name) => [name, all.get(name) ?? (tensors.get(name) as PlainTensor)]));
  const extra = new Map([...all].filter(([name]) => !tensors.has(name)));
  optimizer.dispose();
  average?.dispose();
  for (const variable of weights.values()) variable.dispose();
  return { tensors: ended, extra, figures, backend };
}

function optimizerOptions({ name, beta1, beta2, eps, weightDecay, clipNorm, trustScope }: OptimizerRecipe): OptimizerOptions {
  const both = { beta1, beta2, eps, weightDecay, clipNorm };
  return name === "lamb" ? { name, ...both, trustScope } : { name, ...both };
}
