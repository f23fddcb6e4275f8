/**
 * What an agent says of one frame. Written to its outbox first, published after, acknowledged by the hub last.
 * Order is (bootId, seq): seq counts every durable message of one boot from 1, whatever the wall clock does.
 */
import { z } from "zod";
import { Milliseconds, Name, Probability, Region, Sha256, Timestamp } from "./primitives.ts";

export const VERDICT_VERSION = 1;

export const UnknownReason = z.enum([
  "camera-frozen",
  "camera-black",
  "camera-blurred",
  "camera-overexposed",
  "out-of-domain",
  "frame-unreadable",
  "frame-missing",
  "queue-full",
  "model-not-ready",
  "inspector-failed",
  "deadline-missed",
  "undecided-band",
]);
export type UnknownReason = z.infer<typeof UnknownReason>;

/** Milliseconds a stage took for this frame; total runs from capture to the committed verdict. */
export const StageMs = z.strictObject({
  decode: Milliseconds,
  preprocess: Milliseconds,
  infer: Milliseconds,
  decide: Milliseconds,
  total: Milliseconds,
});
export type StageMs = z.infer<typeof StageMs>;

export const Verdict = z.strictObject({
  schemaVersion: z.literal(VERDICT_VERSION),
  id: z.uuid(),
  site: Name,
  line: Name,
  agent: Name,
  camera: Name,
  bootId: z.uuid(),
  seq: z.int().min(1),
  triggerId: z.string().max(200).optional(),
  part: z.string().max(200).optional(),
  lot: z.string().max(200).optional(),
  capturedAt: Timestamp,
  /** sha256 of the frame's bytes as the camera gave them, and its size in pixels (0 × 0 where it could not be read). */
  frame: z.strictObject({ sha256: Sha256, width: z.int().min(0), height: z.int().min(0) }),
  outcome: z.enum(["pass", "fail", "unknown"]),
  reason: UnknownReason.optional(),
  mode: z.enum(["live", "shadow"]),
  /** Raw defect score in [0, 1], higher is worse; null only where nothing could be inspected. */
  score: Probability.nullable(),
  threshold: Probability,
  /** What the part may be; both where it was not decided, neither where the frame shows something else. */
  predictionSet: z.array(z.enum(["good", "bad"])),
  /** Share of parts whose prediction set holds the truth, as the thresholds promise; null where they promise none. */
  coverage: Probability.nullable(),
  prompt: z.string().max(300).optional(),
  regions: z.array(Region).max(16),
  /** sha256 of the heat map, where one was kept as evidence. */
  map: Sha256.optional(),
  bundle: Sha256,
  settings: Sha256,
  precision: z.enum(["fp32", "fp16", "int8"]),
  provider: z.string().max(64),
  deadlineMs: Milliseconds,
  deadlineMissed: z.boolean(),
  ms: StageMs,
});
export type Verdict = z.infer<typeof Verdict>;
