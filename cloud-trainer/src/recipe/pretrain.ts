/** The stage `pretrain`, joined: views without labels → masked image modelling against a CLIP tower's features. */
import { KenpinError, type StageOf } from "@kenpin/schema";
import { maskedBatches, targetLength } from "../samples/masked-batch.ts";
import { imageGflops } from "../train/cost.ts";
import { readWeightsFolder } from "../weights-folder.ts";
import { type Model, type RunStage, resultOf } from "./stage-context.ts";

export const pretrain: RunStage<StageOf<"pretrain">> = async (model, stage, { recipe, engine, data, setup }) => {
  const { config } = model;
  const pixels = stage.target === "clip" ? null : stage.target;
  const teacher = pixels ? null : stage.teacher ? await readWeightsFolder(stage.teacher) : model;
  if (teacher) refuseOtherPatches(model, teacher);
  const source = { config, frames: data.frames.map(({ image }) => image), surfaces: data.surfaces, turn: stage.augmentation.turn };
  const outcome = await engine.trainMasked({
    ...setup,
    target: teacher ?? { length: targetLength(config, pixels as "hog" | "pixels") },
    batchAt: maskedBatches(source, { size: stage.batch, ratio: stage.maskRatio, target: pixels, seed: recipe.seed }),
  });
  return resultOf(model, outcome, { trained: imageGflops(config), teacher: teacher ? imageGflops(teacher.config) : 0 });
};

function refuseOtherPatches({ config: { name, image } }: Model, { config: teacher }: Model): void {
  if (image.size === teacher.image.size && image.patch === teacher.image.patch) return;
  const [own, its] = [image, teacher.image].map(({ size, patch }) => `${size} pixels in patches of ${patch}`);
  throw new KenpinError(
    "teacher-mismatch",
    `${name} sees ${own}, its teacher ${teacher.name} ${its}; choose one that sees the same patches`,
  );
}
