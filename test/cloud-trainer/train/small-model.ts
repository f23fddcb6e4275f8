/** A small model of the family and what every stage of the engine wants, for tests that train for seconds. */
import { createTokenizer, type ModelConfig } from "@kenpin/clip";
import { OptimizerRecipe, StabilityRecipe } from "@kenpin/schema";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import type { StageSetup } from "../../../cloud-trainer/src/train/engines/tfjs/stage.ts";
import { drawTensors } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { smallConfig } from "./small-config.ts";

export const SMALL: ModelConfig = {
  ...smallConfig({ name: "small", image: { size: 32, depth: 2 }, text: { context: 16, merges: 200 } }),
  preprocess: { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
};
export const smallTokenizer = createTokenizer(SMALL.text);
export const { tf } = await loadBackend();

export function smallSetup(steps: number, optimizer: Record<string, unknown> = {}, seed = 3): StageSetup & { losses: number[] } {
  const losses: number[] = [];
  const rates = { image: 0.02, text: 0.005, other: 0.02 };
  return {
    losses,
    config: SMALL,
    tensors: drawTensors(SMALL, seed),
    recipe: {
      steps,
      optimizer: OptimizerRecipe.parse({ rates, plainShare: 0.1, warmup: 3, clipNorm: 1, layerDecay: { image: 1, text: 1 }, ...optimizer }),
      stability: StabilityRecipe.parse({}),
      checkpointEvery: 1000,
      recompute: false,
    },
    seed,
    folder: null,
    memoryLimitMb: null,
    onStep: ({ loss }) => losses.push(loss),
    onEvent: () => undefined,
  };
}

/** Mean of the first and of the last few losses. */
export function ends(losses: readonly number[], count = 5): { first: number; last: number } {
  const mean = (some: readonly number[]) => some.reduce((sum, value) => sum + value, 0) / some.length;
  return { first: mean(losses.slice(0, count)), last: mean(losses.slice(-count)) };
}
