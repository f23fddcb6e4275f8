/**
 * Prediction sets by class-conditional split conformal prediction (Vovk 2012): each label has its own bound, so that good parts and
 * defective ones are each covered at least 1 − alpha of the time, whatever the model. In: scores with labels to calibrate by, and
 * those to judge. Out: the share whose set holds the truth, and the share whose set is one label, which needs no person.
 * Without pictures to calibrate by, each is held against all others of its label (leave one out).
 */
import { conformalPValue, mean } from "@kenpin/stats";
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
  const known = Object.fromEntries(
    LABELS.map((label) => [label, (calibration ?? judged).filter((one) => one.label === label).map(({ score }) => score)]),
  ) as Record<Label, number[]>;
  const sets = judged.map(({ score, label }): PredictionSet => {
    const others = (as: Label) => (calibration === null && as === label ? without(known[as], score) : known[as]);
    return { truth: label, labels: LABELS.filter((as) => conformalPValue(others(as), score, as) > alpha) };
  });
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

function without(scores: readonly number[], own: number): number[] {
  return scores.toSpliced(scores.indexOf(own), 1);
}
