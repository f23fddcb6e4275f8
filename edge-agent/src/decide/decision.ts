/**
 * Turns a defect score into what the line can act on.
 * In: the score (null where nothing could be inspected), why it may not be trusted, and the bundle's thresholds.
 * Out: a Decision, never an exception. Between the two thresholds the honest answer is unknown: the part may be either. A frame of
 * something else is neither, and nothing was promised of it.
 */
import type { Thresholds, UnknownReason, Verdict } from "@kenpin/schema";

export type Decision = Pick<Verdict, "outcome" | "reason" | "predictionSet" | "coverage">;

export function decide(score: number | null, distrust: UnknownReason | null, thresholds: Thresholds): Decision {
  const coverage = thresholds.promise?.coverage ?? null;
  if (distrust === "out-of-domain") return { outcome: "unknown", reason: distrust, predictionSet: [], coverage: null };
  const either = (reason: UnknownReason): Decision => ({ outcome: "unknown", reason, predictionSet: ["good", "bad"], coverage });
  if (distrust) return either(distrust);
  if (score === null) return either("inspector-failed");
  if (score >= thresholds.fail) return { outcome: "fail", predictionSet: ["bad"], coverage };
  if (score < thresholds.pass) return { outcome: "pass", predictionSet: ["good"], coverage };
  return either("undecided-band");
}
