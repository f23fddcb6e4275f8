/**
 * What a recipe will ask for before anything is begun: samples, compute, time and memory of each stage, for somebody to agree to.
 * Compute is exact (forward GFLOPs × samples, see train/cost.ts). Time is foreseen from the rate at which this machine
 * multiplies matrices and the share of it that training steps have reached; memory from what the backward pass keeps.
 */
import { modelConfig, type ModelConfig } from "@kenpin/clip";
import type { Recipe, Stage } from "@kenpin/schema";
import { studentConfig } from "../distill/student.ts";
import { imageGflops, textGflops, trainingBytes } from "../train/cost.ts";
import { readWeightsFolder } from "../weights-folder.ts";

type StagePlan = {
  stage: Stage["stage"];
  steps: number;
  samples: number;
  /** Forward GFLOPs × samples, a teacher's included. */
  gflops: number;
  seconds: number;
  memoryMb: number;
};
export type Plan = { stages: StagePlan[]; seconds: number; gflops: number; memoryMb: number };

/** Forward and backward are three times the forward pass; a step of kenpin-s-8 reaches this share of the rate of large products. */
const STEP_SHARE = 0.33;
/** Node, TensorFlow and pictures in memory before the first step. */
const RESIDENT_MB = 450;
const CAPTIONS_EACH = 0.6;

/** `gflopsPerSecond`: rate of large float32 products on this machine. */
export async function planOf(recipe: Recipe, gflopsPerSecond: number): Promise<Plan> {
  let config = await configOf(recipe.start);
  const stages: StagePlan[] = [];
  for (const stage of recipe.stages) {
    const teacher = config;
    if (stage.stage === "distill") config = studentConfig(teacher, await configOf(stage.student));
    stages.push(planStage(stage, config, teacher, gflopsPerSecond * STEP_SHARE));
  }
  const sum = (of: (plan: StagePlan) => number) => stages.reduce((total, plan) => total + of(plan), 0);
  return {
    stages,
    seconds: sum(({ seconds }) => seconds),
    gflops: sum(({ gflops }) => gflops),
    memoryMb: Math.max(...stages.map(({ memoryMb }) => memoryMb)),
  };
}

async function configOf({ model, weights }: { model?: string | undefined; weights?: string | undefined }): Promise<ModelConfig> {
  return weights === undefined ? modelConfig(model as string) : (await readWeightsFolder(weights)).config;
}

function planStage(stage: Stage, config: ModelConfig, teacher: ModelConfig, rate: number): StagePlan {
  const pictures = stage.stage === "tune" ? tunePictures(stage.sizes) : stage.batch;
  const { forward, once } = costOf(stage, config, teacher);
  const perStep = pictures * forward * 3 + pictures * once;
  const steps = stage.steps ?? Math.max(1, Math.floor(((stage.seconds as number) * rate) / perStep));
  const inside = "microBatch" in stage && stage.microBatch ? stage.microBatch : pictures;
  const captions = stage.stage === "train" ? inside * CAPTIONS_EACH : 0;
  const bytes = trainingBytes(config, { pictures: inside, captions, recompute: stage.recompute });
  return {
    stage: stage.stage,
    steps,
    samples: steps * pictures,
    gflops: steps * pictures * (forward + once),
    seconds: stage.seconds ?? (steps * perStep) / rate,
    memoryMb: Math.round(RESIDENT_MB + bytes / 2 ** 20),
  };
}

/** Forward GFLOPs a sample of what learns, and of what only looks. */
function costOf(stage: Stage, config: ModelConfig, teacher: ModelConfig): { forward: number; once: number } {
  if (stage.stage === "train") {
    const { ratio, unmaskedTail } = stage.patchDropout;
    return { forward: imageGflops(config, 1 - ratio * (1 - unmaskedTail)) + textGflops(config) * CAPTIONS_EACH, once: 0 };
  }
  const looks = stage.stage === "pretrain" && stage.target === "clip" ? imageGflops(teacher) : 0;
  return { forward: imageGflops(config), once: looks };
}

/** Whole frames are several tiles each; sixteen is what a frame of 250 pixels has at an input of 80. */
function tunePictures({ crops, replay, frames }: { crops: number; replay: number; frames: number }): number {
  return crops + replay + frames * 16;
}
