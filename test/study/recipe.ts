/**
 * A stage of a recipe for an arm at a rate, every default filled in, and what a picture costs in it. In: an arm and a factor of the
 * optimizer's middle rate. Out: the stage as packages/schema has it, for either engine; forward GFLOPs a picture.
 */
import type { ModelConfig } from "@kenpin/clip";
import { DistillStage, PretrainStage, TrainStage } from "@kenpin/schema";
import type { z } from "zod";
import { imageGflops, textGflops } from "../../cloud-trainer/src/train/cost.ts";
import type { Arm } from "./arms.ts";

type Data = { generated: { surfaces: number; seed: number } };
type Made = z.infer<typeof TrainStage> | z.infer<typeof PretrainStage> | z.infer<typeof DistillStage>;

/** LAMB's is base-gpu.yaml's; AdamW's what did best in a short trial from .16 to 6.25 thousandths. Words go a tenth as fast, as in the released recipe. */
const MIDDLE = { lamb: 0.012, adamw: 0.0025 };
const TEXT_SHARE = 0.1;
/** Norms and biases have no trust ratio: LAMB's large rate would be too much for them. AdamW has one kind of rate. */
const PLAIN_SHARE = { lamb: 0.1, adamw: 1 };
const [WARMUP_SHARE, CHECKPOINTS] = [0.1, 2];

export function stepsOf({ samples, batch }: Arm): number {
  return Math.max(2, Math.round(samples / batch));
}

export function stageOf(arm: Arm, rate: number, data: Data): Made {
  const steps = stepsOf(arm);
  const image = MIDDLE[arm.optimizer] * rate;
  const every = {
    steps,
    batch: arm.batch,
    data,
    optimizer: {
      name: arm.optimizer,
      trustScope: arm.trustScope,
      rates: { image, text: arm.stage === "distill" ? 0 : image * TEXT_SHARE, other: image },
      layerDecay: { image: 1, text: 1 },
      plainShare: PLAIN_SHARE[arm.optimizer],
      clipNorm: 1,
      warmup: Math.ceil(steps * WARMUP_SHARE),
      floor: 0.02,
    },
    // A run that comes apart says so; it is not mended at a lower rate than the one that is being measured.
    stability: { maxRollbacks: 0 },
    checkpointEvery: Math.max(1, Math.ceil(steps / CHECKPOINTS)),
  };
  if (arm.stage === "pretrain") {
    return PretrainStage.parse({
      ...every,
      stage: "pretrain",
      target: arm.teacher === "gradients" ? "hog" : "clip",
      augmentation: { turn: true },
    });
  }
  if (arm.stage === "train") return TrainStage.parse({ ...every, stage: "train", patchDropout: arm.patchDropout });
  return DistillStage.parse({ ...every, stage: "distill", terms: arm.terms, student: { model: "student" } });
}

/** Forward GFLOPs a picture: what learns, and a teacher that looks on. */
export function gflopsOf(arm: Arm, { base, student }: { base: ModelConfig; student: ModelConfig }): { trained: number; teacher: number } {
  const own = arm.isStudent ? student : base;
  const { ratio, unmaskedTail } = arm.patchDropout;
  const image = imageGflops(own, 1 - ratio * (1 - unmaskedTail));
  const teacher = arm.teacher === null || arm.teacher === "gradients" ? 0 : imageGflops(base);
  return { trained: image + (arm.stage === "train" ? textGflops(own) : 0), teacher };
}
