/**
 * Whether a student may stand in for its teacher: it must tell good from bad nearly as well on the labelled frames there are,
 * and put them in nearly the same order. Otherwise the teacher is shipped, and the reason is kept.
 * This compares two models on frames that both have learned from; it says nothing of how good either is, which held-out
 * frames alone do.
 */
import { auroc, rankCorrelation } from "@kenpin/stats";
import { type HeldOutFrame, type StagedBundle, scoreFrames } from "./score-frames.ts";

export type Gate = {
  passed: boolean;
  why: string;
  frames: number;
  auroc: { teacher: number; student: number };
  /** Share of the frames on the right side of the cut. */
  accuracy: { teacher: number; student: number };
  /** Spearman's, of both models' scores. */
  agreement: number;
};

const AUROC_MARGIN = 0.02;
const ACCURACY_MARGIN = 0.05;
const CUT = 0.5;
const LEAST_AGREEMENT = 0.8;
/** Two passes over more frames than this would cost a minute and change nothing. */
const FRAME_LIMIT = 80;

/** Takes the first frames of each label, in the order given. */
export async function passGate(
  { teacher, student }: { teacher: StagedBundle; student: StagedBundle },
  all: readonly HeldOutFrame[],
  onProgress: (done: number, of: number) => void,
): Promise<Gate> {
  const frames = (["good", "bad"] as const).flatMap((label) => all.filter((frame) => frame.label === label).slice(0, FRAME_LIMIT / 2));
  const labels = frames.map(({ label }) => (label === "bad" ? 1 : 0));
  const of = 2 * frames.length;
  const told = await scoreFrames(teacher, frames, (done) => onProgress(done, of));
  const seen = await scoreFrames(student, frames, (done) => onProgress(frames.length + done, of));
  const area = { teacher: auroc(told, labels), student: auroc(seen, labels) };
  const accuracyOf = (scores: readonly number[]) => scores.filter((score, i) => Number(score >= CUT) === labels[i]).length / scores.length;
  const accuracy = { teacher: accuracyOf(told), student: accuracyOf(seen) };
  const agreement = rankCorrelation(told, seen);
  const weaker = area.student < area.teacher - AUROC_MARGIN;
  const offCut = accuracy.student < accuracy.teacher - ACCURACY_MARGIN;
  const stranger = agreement < LEAST_AGREEMENT;
  const pair = ({ student: own, teacher: its }: Gate["auroc"]) => `${own.toFixed(3)} against the teacher's ${its.toFixed(3)}`;
  const figures = `AUROC ${pair(area)}, accuracy ${pair(accuracy)}, agreement ${agreement.toFixed(2)} on ${frames.length} labelled frames`;
  const why = weaker
    ? `the student tells good from bad less well: ${figures}; at most ${AUROC_MARGIN} less is taken`
    : offCut
      ? `the student decides less well: ${figures}; at most ${ACCURACY_MARGIN} less accuracy is taken`
      : stranger
        ? `the student orders the frames otherwise: ${figures}; at least ${LEAST_AGREEMENT} is asked`
        : `the student stands in for its teacher: ${figures}`;
  return { passed: !weaker && !offCut && !stranger, why, frames: frames.length, auroc: area, accuracy, agreement };
}
