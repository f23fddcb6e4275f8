/**
 * What an engine offers a recipe: the four stages, each from its setup to the weights it ends with.
 * In: the setups of the engine tfjs, which are plain data and functions that draw batches. Out: plain tensors.
 */
import type { ModelConfig, Tensor } from "@kenpin/clip";
import type { ContrastiveSetup } from "./tfjs/contrastive.ts";
import type { DistillSetup } from "./tfjs/distill.ts";
import type { PretrainSetup } from "./tfjs/masked-modelling.ts";
import type { StageOutcome } from "./tfjs/stage.ts";
import type { TuneSetup } from "./tfjs/tune.ts";

/** Beside what tfjs needs: the teacher itself, the words as texts, and each batch's captions. */
type TaughtSetup = Omit<DistillSetup, "batchAt" | "words"> & {
  teacher: { config: ModelConfig; tensors: ReadonlyMap<string, Tensor> };
  words: DistillSetup["words"] & { texts: { good: string[]; bad: string[] } };
  batchAt: (draw: number) => ReturnType<DistillSetup["batchAt"]> & { captions: string[] };
};

/** What an engine that draws surfaces itself needs for it, and what it learns of their references. */
type OnDevice = {
  /** `captions`: every caption with its tokens and claims, as a file's text. */
  generated: { surfaces: number; seed: number; without: string[]; captions: string } | null;
  references: { loss: number; tokenLayers: number[] };
};

export type Engine = {
  trainMasked: (setup: PretrainSetup) => Promise<StageOutcome>;
  trainContrastive: (setup: ContrastiveSetup & OnDevice & { shards: string[] | null }) => Promise<StageOutcome>;
  trainTune: (setup: TuneSetup) => Promise<StageOutcome & { textBias: number }>;
  trainDistill: (setup: TaughtSetup) => Promise<StageOutcome>;
  /** Whether batches for distillation bring what a teacher said of them; an engine without looks with the teacher itself. */
  storesTeacher: boolean;
  /** Whether it reads WebDataset shards itself: folders of millions of pictures never pass through this process. */
  readsShards: boolean;
};
