/**
 * What an inspector has learned from a site's exemplars: a bank of good patches, what good frames are like, and with
 * exemplars of both kinds a small head. In: what the tower saw of each exemplar, once. Out: all that decides beside the model.
 * The same exemplars in the same order teach the same, whether the others were seen just now or before a restart. Pure but for
 * `nearest`, which a model answers.
 */
import type { Scoring } from "@kenpin/schema";
import { fitHead, type Head, type HeadFit, LEAST_OF_A_KIND } from "./exemplar-head.ts";
import { type KeptTokens, type Nearest, teachBank } from "./memory-bank.ts";
import { fuse, type ReferenceStats, type ReferenceValues, referenceStats, summaryOf } from "./score.ts";
import { type Calm, calmOf } from "./strangeness.ts";

/** Named by the frame's sha256. */
export type Lesson = { digest: string; label: "good" | "bad" };
/** What is kept of a frame that was shown; the pixels are not. */
export type Shown = ReferenceValues & { tokens: KeptTokens; statistics: Float32Array };
export type Knowledge = {
  lessons: Lesson[];
  tokenDim: number;
  bank: Float32Array;
  calm: Calm;
  references: ReferenceStats;
  head: Head | null;
  taught: Taught;
};
/** What the parent is told. */
export type Taught = {
  /** Good frames in the bank, 0 while words alone decide; bad ones that the head has learned from. */
  references: number;
  bad: number;
  /** What each exemplar would score if it had not been taught, in their order; null while words alone decide. */
  scores: number[] | null;
  /** Cross-validated, with the head and without; null without one. */
  head: (HeadFit["figures"] & { share: number; bankWeight: number }) | null;
};

export const UNTAUGHT: Taught = { references: 0, bad: 0, scores: null, head: null };
/** 500 frames is what a teaching may ask for. Past this many a worker's memory would be no longer bounded. */
export const EXEMPLAR_LIMIT = 512;
/** One frame's own deviation is not known. */
const LEAST_GOOD = 2;
const BANK_WEIGHTS = [0, 0.25, 0.5, 0.75, 1];

/** Null while there are too few good frames to say what good is. */
export async function teachFrom(
  lessons: readonly Lesson[],
  shown: ReadonlyMap<string, Shown>,
  { tokenDim, scoring, nearest }: { tokenDim: number; scoring: Scoring; nearest: Nearest },
): Promise<Knowledge | null> {
  const frames = lessons.map(({ digest, label }) => ({ ...(shown.get(digest) as Shown), isGood: label === "good" }));
  const good = frames.filter(({ isGood }) => isGood).length;
  if (good < LEAST_GOOD) return null;
  const { bank, outside } = await teachBank(frames, { dim: tokenDim, nearest });
  const seen = frames.map((frame, i) => ({ ...frame, bank: summaryOf(outside[i] as Float32Array, scoring.topRatio) }));
  const statsBy = (bankWeight: number) =>
    referenceStats(
      seen.filter(({ isGood }) => isGood),
      { ...scoring, bankWeight },
    );
  const fusedBy = (bankWeight: number) => {
    const references = statsBy(bankWeight);
    return seen.map((frame) => fuse(frame.text, frame.bank, references, { ...scoring, bankWeight }));
  };
  const calm = calmOf(outside.filter((_, i) => frames[i]?.isGood));
  const base = { lessons: [...lessons], tokenDim, bank, calm };
  if (Math.min(good, frames.length - good) < LEAST_OF_A_KIND) {
    const scores = fusedBy(scoring.bankWeight).map(({ score }) => score);
    return { ...base, references: statsBy(scoring.bankWeight), head: null, taught: { references: good, bad: 0, scores, head: null } };
  }
  const bankWeights = [scoring.bankWeight, ...BANK_WEIGHTS];
  const fused = bankWeights.map(fusedBy);
  const labelled = frames.map(({ isGood, statistics }, i) => ({
    isBad: !isGood,
    statistics,
    fusedBy: fused.map((by) => by[i]?.logit as number),
  }));
  const { head, scores, figures } = fitHead(labelled, bankWeights);
  const { share, bankWeight } = head;
  const taught = { references: good, bad: frames.length - good, scores, head: { ...figures, share, bankWeight } };
  return { ...base, references: statsBy(bankWeight), head, taught };
}
