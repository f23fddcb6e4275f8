/**
 * Writes down a decision as a verdict, all but its identity: id, boot and seq are given where it is committed.
 * In: the frame, what was seen of it, and what decided. Times are milliseconds.
 */
import type { Inspection } from "@kenpin/inspector";
import type { AgentConfig, UnknownReason, Verdict } from "@kenpin/schema";
import { VERDICT_VERSION } from "@kenpin/schema";
import type { Frame } from "../frame.ts";
import type { Setup } from "../setup.ts";
import { decide } from "./decision.ts";

export type VerdictDraft = Omit<Verdict, "id" | "bootId" | "seq">;
export type DraftParts = {
  config: Pick<AgentConfig, "site" | "line" | "agent">;
  frame: Frame;
  inspection: Inspection | null;
  distrust: UnknownReason | null;
  setup: Setup;
  provider: string;
};

export function draftVerdict({ config, frame, inspection, distrust, setup, provider }: DraftParts): VerdictDraft {
  const started = performance.now();
  const { camera } = frame;
  const deadlineMissed = started - frame.takenAt > camera.deadlineMs;
  const score = inspection?.score ?? null;
  const { promise } = setup.thresholds;
  const decision = decide(score, distrust ?? (deadlineMissed ? "deadline-missed" : null), setup.thresholds);
  return {
    schemaVersion: VERDICT_VERSION,
    site: config.site,
    line: config.line,
    agent: config.agent,
    camera: camera.name,
    triggerId: frame.triggerId,
    ...(camera.part !== undefined && { part: camera.part }),
    capturedAt: frame.capturedAt.toISOString(),
    frame: { sha256: frame.sha256, width: inspection?.width ?? 0, height: inspection?.height ?? 0 },
    ...decision,
    // With other exemplars the scores are others than those that the promise was made on.
    coverage: promise?.references === setup.references.length ? decision.coverage : null,
    mode: "live",
    score,
    threshold: setup.thresholds.cut,
    ...(inspection && { prompt: inspection.prompt }),
    regions: inspection?.regions ?? [],
    bundle: setup.bundle,
    settings: setup.settings,
    precision: setup.manifest.precision,
    provider,
    deadlineMs: camera.deadlineMs,
    deadlineMissed: deadlineMissed || distrust === "deadline-missed",
    ms: {
      decode: inspection?.ms.decode ?? 0,
      preprocess: inspection?.ms.preprocess ?? 0,
      infer: inspection?.ms.infer ?? 0,
      decide: performance.now() - started,
      total: 0,
    },
  };
}
