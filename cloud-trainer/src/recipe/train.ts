/** The stage `train`, joined: generated surfaces and captioned sets → contrastive training of both towers. */
import { createTokenizer } from "@kenpin/clip";
import { KenpinError, type StageOf } from "@kenpin/schema";
import { randomAt } from "@kenpin/stats";
import { augmentedPixels } from "../samples/augment.ts";
import { captionFile } from "../samples/caption-file.ts";
import { captionedBatches, captionedSetSource, surfaceSource } from "../samples/captioned-batch.ts";
import { imageGflops, textGflops } from "../train/cost.ts";
import { type RunStage, resultOf } from "./stage-context.ts";

export const train: RunStage<StageOf<"train">> = async (model, stage, { recipe, engine, data, shards, words, setup }) => {
  const { config } = model;
  const { loss, patchLoss, microBatch, patchDropout: dropout, augmentation } = stage;
  const { generated } = stage.data;
  const onDevice = generated?.on === "device" ? { ...generated, captions: captionFile(config) } : null;
  const captioned = data.frames.filter(({ captions }) => captions.length > 0);
  if (!shards && !onDevice && captioned.length === 0 && data.surfaces.length === 0) {
    throw new KenpinError("no-captions", "the stage train needs captions: name a set that has them, or generated surfaces, under data");
  }
  const pictures = captioned.map(({ image, captions }) => ({
    captions,
    pixelValues: (place: number) => augmentedPixels(image, { config, augmentation, random: randomAt(recipe.seed + 2, place) }),
  }));
  const sources = [
    ...(data.surfaces.length > 0 ? [surfaceSource(data.surfaces, config, recipe.seed)] : []),
    ...(pictures.length > 0 ? [captionedSetSource(pictures, config, recipe.seed + 1)] : []),
  ];
  const outcome = await engine.trainContrastive({
    ...setup,
    tokenizer: createTokenizer(config.text),
    words,
    loss,
    patchLoss,
    references: { loss: stage.referenceLoss, tokenLayers: model.tokenLayers },
    generated: onDevice,
    microBatch,
    shards,
    batchAt: captionedBatches(sources, { config, size: stage.batch, dropout, seed: recipe.seed }),
  });
  const kept = 1 - dropout.ratio * (1 - dropout.unmaskedTail);
  return resultOf(model, outcome, { trained: imageGflops(config, kept) + textGflops(config), teacher: 0 });
};
