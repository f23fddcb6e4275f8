/**
 * Turns a defect score into what the line can act on.
 * In: the score (null where nothing could be inspected), why it may not be trusted, and the bundle's thresholds.
 * Out: a Decision, never an exception. Between the two thresholds the honest answer is unknown.
 */
import type { Thresholds, UnknownReason, Verdict } from "@kenpin/schema";

export type Decision = Pick<Verdict, "outcome" | "reason" | "predictionSet">;

export function decide(score: number | null, distrust: UnknownReason | null, thresholds: Thresholds): Decision {
  if (distrust) return unknown(distrust);
  if (score === null) return unknown("inspector-failed");
  if (score >= thresholds.fail) return { outcome: "fail", predictionSet: ["bad"] };
  if (score < thresholds.pass) return { outcome: "pass", predictionSet: ["good"] };
  return unknown("undecided-band");
}

function unknown(reason: UnknownReason): Decision {
  return { outcome: "unknown", reason, predictionSet: ["good", "bad"] };
}
