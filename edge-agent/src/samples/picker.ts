/**
 * Picks the few frames worth learning from.
 * random      drawn with probability `randomRatio`, whatever the picture shows: only these may evaluate a model, so a frame
 *             that was drawn stays `random` even when it is odd as well
 * undecided   in the band between the thresholds, or close to the cut
 * surprising  words and memory bank contradict each other, or the score lies far from the camera's recent ones
 * drifting    one of the few that a camera's drift offers, to learn from what it shows now
 */
import type { Inspection } from "@kenpin/inspector";
import type { SampleReason, Sampling, Scoring, Thresholds } from "@kenpin/schema";
import { quantile, type Random } from "@kenpin/stats";

/** This close to the cut, the score says as little as inside the band. */
const NEAR_CUT = 0.05;
/** Both must be this sure, in logits, before a contradiction says anything. */
const SURE_LOGIT = 1;
/** Deviations (from the median absolute deviation) that make a score surprising, and the least that counts as one. */
const FAR = 6;
const LEAST_SPREAD = 0.25;
const HISTORY_FIRST = 20;
const HISTORY_WINDOW = 200;
/** Median absolute deviation → standard deviation, for a normal distribution. */
const MAD_SCALE = 1.4826;

type PickParts = {
  thresholds: Thresholds;
  scoring: Scoring;
  /** Whether drift offers this frame; asking takes the offer. */
  takeOffer: () => boolean;
};

export class SamplePicker {
  #sampling: Sampling;
  #random: Random;
  #history = new Map<string, number[]>();

  constructor(sampling: Sampling, random: Random) {
    this.#sampling = sampling;
    this.#random = random;
  }

  /** Draws for every frame first, so that the draw cannot depend on the picture. */
  pick(camera: string, inspection: Inspection, { thresholds, scoring, takeOffer }: PickParts): SampleReason | null {
    const drawn = this.#random.next() < this.#sampling.randomRatio;
    const far = this.#isFar(camera, logit(inspection.score));
    if (drawn) return "random";
    if (this.#sampling.undecided && isUndecided(inspection.score, thresholds)) return "undecided";
    if (this.#sampling.surprising && (far || contradicts(inspection, scoring))) return "surprising";
    if (this.#sampling.drifting && takeOffer()) return "drifting";
    return null;
  }

  #isFar(camera: string, value: number): boolean {
    const recent = this.#history.get(camera) ?? [];
    this.#history.set(camera, [...recent, value].slice(-HISTORY_WINDOW));
    if (recent.length < HISTORY_FIRST) return false;
    const middle = quantile(recent, 0.5);
    const spread =
      MAD_SCALE *
      quantile(
        recent.map((one) => Math.abs(one - middle)),
        0.5,
      );
    return Math.abs(value - middle) > FAR * Math.max(spread, LEAST_SPREAD);
  }
}

function isUndecided(score: number, { pass, fail, cut }: Thresholds): boolean {
  return (score >= pass && score < fail) || Math.abs(score - cut) < NEAR_CUT;
}

function contradicts({ textLogit, bankZ }: Inspection, { textScale, textBias, bankScale, bankCut }: Scoring): boolean {
  if (bankZ === null) return false;
  const words = textScale * textLogit + textBias;
  const bank = bankScale * (bankZ - bankCut);
  return Math.sign(words) !== Math.sign(bank) && Math.min(Math.abs(words), Math.abs(bank)) > SURE_LOGIT;
}

function logit(score: number): number {
  const inside = Math.min(1 - 1e-6, Math.max(1e-6, score));
  return Math.log(inside / (1 - inside));
}
