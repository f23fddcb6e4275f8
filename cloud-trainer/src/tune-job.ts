/**
 * What the hub and the trainer process it starts say to each other, all of it in one run folder:
 *   job.json     in:  TuneJob
 *   stdout       out: one RunProgress a line
 *   staged/      out: the new bundle's files, unsigned
 *   model/       out: model.safetensors, config.json and card.json, to train on from
 *   result.json  out: TuneResult, written last
 */
import { Name, PartWords, Probability, RunRow, SampleReason, Sha256, TrainingFigures } from "@kenpin/schema";
import { z } from "zod";
import { StagedManifest } from "./bundle/staged.ts";

export const TrainingSample = z.strictObject({
  /** Where the frame's bytes lie; they are checked against `sha256` before use. */
  file: z.string(),
  sha256: Sha256,
  label: z.enum(["good", "bad"]),
  reason: SampleReason,
  drawProbability: Probability,
});
export type TrainingSample = z.infer<typeof TrainingSample>;

export const TuneJob = z.strictObject({
  run: Name,
  /** Folder of the parent's model.safetensors and config.json. */
  parentModel: z.string(),
  /** The parent bundle's words; its embeddings are made anew. */
  words: PartWords,
  samples: z.array(TrainingSample).max(100_000),
  budgetSeconds: z.number().min(1),
  seed: z.int().min(0),
});
export type TuneJob = z.infer<typeof TuneJob>;

export const TuneResult = z.strictObject({
  manifest: StagedManifest,
  /** Digest of the recipe as run, and of the data it saw: the bundle's lineage. */
  recipe: Sha256,
  data: z.array(z.strictObject({ name: z.string(), sha256: Sha256, images: z.int().min(0) })),
  training: TrainingFigures,
  heldOut: RunRow.shape.result.unwrap().shape.heldOut,
});
export type TuneResult = z.infer<typeof TuneResult>;
