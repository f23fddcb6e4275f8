/**
 * Prediction sets by class-conditional split conformal prediction (Vovk 2012): each label has its own bound, so that good parts and
 * defective ones are each covered at least 1 − alpha of the time, whatever the model. In: scores with labels to calibrate by, and
 * those to judge. Out: the share whose set holds the truth, and the share whose set is one label, which needs no person.
 * Without pictures to calibrate by, each is held against all others of its label (leave one out).
 */
import { mean } from "@kenpin/stats";
import type { Scored } from "./image-figures.ts";

export type CoverageFigures = { overall: number | null; good: number | null; defective: number | null };
type Label = Scored["label"];
type PredictionSet = { truth: Label; labels: Label[] };

const LABELS: Label[] = ["good", "bad"];

export function coverageOf(
  judged: readonly Scored[],
  calibration: readonly Scored[] | null,
  alpha: number,
): { coverage: CoverageFigures; decidedRatio: number | null } {
  const sets = judged.map((one, i) => predictionSet(one, calibration ?? judged.filter((_, j) => j !== i), alpha));
  const covered = (some: PredictionSet[]) =>
    some.length === 0 ? null : mean(some.map(({ truth, labels }) => Number(labels.includes(truth))));
  return {
    coverage: {
      overall: covered(sets),
      good: covered(sets.filter(({ truth }) => truth === "good")),
      defective: covered(sets.filter(({ truth }) => truth === "bad")),
    },
    decidedRatio: sets.length === 0 ? null : mean(sets.map(({ labels }) => Number(labels.length === 1))),
  };
}

/** A label is in the set unless fewer than alpha of its own pictures, this one counted, are as strange to it. */
function predictionSet({ score, label }: Scored, others: readonly Scored[], alpha: number): PredictionSet {
  const strangeness = (value: number, as: Label) => (as === "bad" ? 1 - value : value);
  const labels = LABELS.filter((as) => {
    const own = others.filter((other) => other.label === as);
    const stranger = own.filter((other) => strangeness(other.score, as) >= strangeness(score, as)).length;
    return (stranger + 1) / (own.length + 1) > alpha;
  });
  return { truth: label, labels };
}
