/**
 * What an engine offers a recipe: the four stages, each from its setup to the weights it ends with.
 * `tfjs` trains in this process, on this machine's processor; `torch` drives Python processes, on GPUs where there are any.
 */
import type { ModelConfig, Tensor } from "@kenpin/clip";
import type { Recipe } from "@kenpin/schema";
import type { ContrastiveSetup } from "./tfjs/contrastive.ts";
import type { DistillSetup } from "./tfjs/distill.ts";
import type { PretrainSetup } from "./tfjs/masked-modelling.ts";
import type { StageOutcome } from "./tfjs/stage.ts";
import type { TuneSetup } from "./tfjs/tune.ts";

/** Beside what tfjs needs: the teacher itself, the words as texts, and each batch's captions. */
export type TaughtSetup = Omit<DistillSetup, "batchAt" | "words"> & {
  teacher: { config: ModelConfig; tensors: ReadonlyMap<string, Tensor> };
  words: DistillSetup["words"] & { texts: { good: string[]; bad: string[] } };
  batchAt: (draw: number) => ReturnType<DistillSetup["batchAt"]> & { captions: string[] };
};

export type Engine = {
  trainMasked: (setup: PretrainSetup) => Promise<StageOutcome>;
  trainContrastive: (setup: ContrastiveSetup & { shards: string[] | null }) => Promise<StageOutcome>;
  trainTune: (setup: TuneSetup) => Promise<StageOutcome & { textBias: number }>;
  trainDistill: (setup: TaughtSetup) => Promise<StageOutcome>;
  /** Whether batches for distillation bring what a teacher said of them; an engine without looks with the teacher itself. */
  storesTeacher: boolean;
  /** Whether it reads WebDataset shards itself: folders of millions of pictures never pass through this process. */
  readsShards: boolean;
};

export async function createEngine({ engine, torch }: Pick<Recipe, "engine" | "torch">, gpus: number | null): Promise<Engine> {
  if (engine === "torch") {
    const { createTorchEngine } = await import("./torch/engine.ts");
    return createTorchEngine({ gpus, ...torch });
  }
  const [masked, contrastive, tune, distill] = await Promise.all([
    import("./tfjs/masked-modelling.ts"),
    import("./tfjs/contrastive.ts"),
    import("./tfjs/tune.ts"),
    import("./tfjs/distill.ts"),
  ]);
  const { trainMasked } = masked;
  return {
    trainMasked,
    trainContrastive: contrastive.trainContrastive,
    trainTune: tune.trainTune,
    trainDistill: distill.trainDistill,
    storesTeacher: true,
    readsShards: false,
  };
}
