/**
 * A frame the agent found worth learning from, announced over MQTT; its bytes go to the hub over HTTP by digest.
 * `drawProbability` is the chance this frame had of being drawn at random: only samples with reason "random" may
 * calibrate or evaluate a model, weighted by it; frames picked because they were odd only train.
 */
import { z } from "zod";
import { Name, Probability, Sha256, Timestamp } from "./primitives.ts";

export const SAMPLE_VERSION = 1;

export const SampleReason = z.enum(["undecided", "surprising", "drifting", "random"]);
export type SampleReason = z.infer<typeof SampleReason>;

export const Sample = z.strictObject({
  schemaVersion: z.literal(SAMPLE_VERSION),
  id: z.uuid(),
  verdictId: z.uuid(),
  site: Name,
  agent: Name,
  camera: Name,
  bootId: z.uuid(),
  seq: z.int().min(1),
  capturedAt: Timestamp,
  reason: SampleReason,
  drawProbability: Probability,
  evidence: z.enum(["region", "frame"]),
  frame: z.strictObject({ sha256: Sha256, bytes: z.int().min(1), type: z.enum(["image/jpeg", "image/png"]) }),
  map: z.strictObject({ sha256: Sha256, bytes: z.int().min(1), type: z.literal("image/png") }).optional(),
});
export type Sample = z.infer<typeof Sample>;

/** What a person (or, in the playground, the set's ground truth) says of a sample. */
export const Label = z.strictObject({
  sample: Sha256.describe("sha256 of the sample's frame"),
  label: z.enum(["good", "bad", "unsure"]),
  defect: z.string().max(64).optional(),
  by: z.string().min(1).max(64),
});
export type Label = z.infer<typeof Label>;
