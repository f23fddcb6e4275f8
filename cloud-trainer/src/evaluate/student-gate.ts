/**
 * Whether a student may stand in for its teacher: it must tell good from bad nearly as well on the labelled frames there are,
 * and put them in nearly the same order. Otherwise the teacher is shipped, and the reason is kept.
 * This compares two models on one set of frames, some of which both have learned from; it says nothing of how good either
 * is, which held-out frames alone do.
 */
import { auroc, rankCorrelation } from "@kenpin/stats";
import { type HeldOutFrame, type StagedBundle, scoreFrames } from "./score-frames.ts";

export type Gate = {
  passed: boolean;
  why: string;
  frames: number;
  auroc: { teacher: number; student: number };
  /** Spearman's, of both models' scores. */
  agreement: number;
};

const AUROC_MARGIN = 0.02;
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
  const agreement = rankCorrelation(told, seen);
  const weaker = area.student < area.teacher - AUROC_MARGIN;
  const stranger = agreement < LEAST_AGREEMENT;
  const figures = `AUROC ${area.student.toFixed(3)} against the teacher's ${area.teacher.toFixed(3)}, agreement ${agreement.toFixed(2)} on ${frames.length} labelled frames`;
  const why = weaker
    ? `the student tells good from bad less well: ${figures}; at most ${AUROC_MARGIN} less is taken`
    : stranger
      ? `the student orders the frames otherwise: ${figures}; at least ${LEAST_AGREEMENT} is asked`
      : `the student stands in for its teacher: ${figures}`;
  return { passed: !weaker && !stranger, why, frames: frames.length, auroc: area, agreement };
}
