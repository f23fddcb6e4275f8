/**
 * Where to cut, from scores of good and of bad parts: what may be promised first, what is merely likely where nothing may.
 * In: scores that no picture's own teaching has touched, drawn at random from what the line makes; the cuts in use. Out:
 * Thresholds with their promise, and the curve of overkill against escape for whoever chooses by hand. Pure.
 */
import type { ThresholdPromise, Thresholds } from "@kenpin/schema";
import { type ConformalCut, confidenceOf, conformalCut, normalUpperLimit } from "@kenpin/stats";

export type CalibrationScores = { good: readonly number[]; bad: readonly number[] };
export type Wanted = {
  /** Share of bad parts that may pass, and of good parts that may be stopped. */
  alphaBad: number;
  alphaGood: number;
  /** Of this very calibration; null promises it on average over calibrations. */
  confidence: number | null;
  /** The cuts in use were learned from pictures of both labels: they move no further than a promise asks. */
  learned?: boolean;
  /** Exemplars the inspector had been taught that gave the scores. */
  references?: number;
};
export type TradeOffPoint = { cut: number; overkill: number | null; escape: number | null };

export const WANTED: Wanted = { alphaBad: 0.05, alphaGood: 0.1, confidence: null };
/** Of the stopgap, which has no average to promise. */
const STOPGAP_CONFIDENCE = 0.9;
/** From so many good samples on their highest tells more than a normal distribution that nobody checked. */
const ENOUGH_TO_RANK = 11;

export function chooseThresholds(scores: CalibrationScores, current: Thresholds, wanted: Wanted = WANTED): Thresholds {
  const { good, bad } = scores;
  const { alphaBad, alphaGood, confidence, learned = false, references = 0 } = wanted;
  const lower = conformalCut(bad, { label: "bad", alpha: alphaBad, confidence });
  const upper = belowOne(conformalCut(good, { label: "good", alpha: alphaGood, confidence }));
  const promise = (method: ThresholdPromise["method"]): ThresholdPromise => ({
    method,
    bad: labelPromise(lower, alphaBad),
    good: labelPromise(upper, alphaGood),
    confidence,
    coverage: lower.cut !== null && upper.cut !== null ? 1 - Math.max(alphaBad, alphaGood) : null,
    references,
  });
  if (lower.cut !== null && upper.cut !== null) {
    const chosenBy = `conformal prediction on ${good.length} good and ${bad.length} bad samples`;
    return { ...joined(lower.cut, above(upper.cut), current.cut, learned), chosenBy, promise: promise("conformal") };
  }
  if (lower.cut !== null) {
    const fail = Math.max(current.fail, lower.cut);
    const cut = Math.min(fail, Math.max(current.cut, lower.cut));
    return { pass: lower.cut, cut, fail, chosenBy: `conformal prediction on ${bad.length} bad samples`, promise: promise("conformal") };
  }
  if (upper.cut !== null) {
    const limit = above(upper.cut);
    const chosenBy = `a tolerance limit of ${good.length} good samples`;
    if (!learned) return { ...oneCut(limit), chosenBy, promise: promise("good-only") };
    const { pass, cut, fail } = current;
    return {
      pass,
      cut,
      fail: Math.max(fail, limit),
      chosenBy: `${current.chosenBy}; ${chosenBy}`.slice(0, 300),
      promise: promise("good-only"),
    };
  }
  const stopgap = learned || bad.length > 0 ? null : stopgapOf(good, upper, wanted);
  return stopgap
    ? { ...oneCut(stopgap.cut), chosenBy: stopgap.chosenBy, promise: promise(stopgap.method) }
    : { ...current, promise: promise("none") };
}

/** What can be said of good samples that are too few: a limit that is named for what it rests on, and keeps no promise. */
function stopgapOf(good: readonly number[], { missing }: ConformalCut, { alphaGood, confidence }: Wanted) {
  const until = `a stopgap until there are ${good.length + missing}`;
  if (good.length >= ENOUGH_TO_RANK && missing > 0) {
    const sure = (100 * confidenceOf(good.length, alphaGood)).toFixed(1);
    const chosenBy = `the highest of ${good.length} good samples, a limit with ${sure} % confidence, ${until}`;
    return { cut: above(Math.max(...good)), chosenBy, method: "good-only" as const };
  }
  const limit = normalUpperLimit(good, { share: alphaGood, confidence: confidence ?? STOPGAP_CONFIDENCE });
  const chosenBy = `a normal distribution laid through ${good.length} good samples, ${until}`;
  return limit === null ? null : { cut: above(limit), chosenBy, method: "normal-limit" as const };
}

/** Shares at each cut from 0 to 1; null where no sample of that label is there to count. */
export function tradeOff({ good, bad }: CalibrationScores, steps = 100): TradeOffPoint[] {
  const share = (scores: readonly number[], is: (score: number) => boolean) =>
    scores.length === 0 ? null : scores.filter(is).length / scores.length;
  return Array.from({ length: steps + 1 }, (_, i) => {
    const cut = i / steps;
    return { cut, overkill: share(good, (score) => score >= cut), escape: share(bad, (score) => score < cut) };
  });
}

/**
 * Bad parts below `pass` and good parts from `fail` on are the mistakes promised to be rare. Where the labels lie so far apart that
 * `pass` is above `fail`, any single cut between them keeps both promises, and leaves nothing to a person: the learned one if it
 * lies there, else the middle.
 */
function joined(pass: number, fail: number, cut: number, learned: boolean): Pick<Thresholds, "pass" | "cut" | "fail"> {
  if (pass > fail) return oneCut(learned ? Math.min(pass, Math.max(fail, cut)) : (pass + fail) / 2);
  return { pass, fail, cut: Math.min(fail, Math.max(pass, cut)) };
}

function oneCut(cut: number): Pick<Thresholds, "pass" | "cut" | "fail"> {
  return { pass: cut, cut, fail: cut };
}

/** The next larger score: a part that scores as the strangest good one conforms still. */
function above(score: number): number {
  if (score >= 1) return 1;
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, score);
  bits.setBigUint64(0, bits.getBigUint64(0) + 1n);
  return score <= 0 ? Number.MIN_VALUE : bits.getFloat64(0);
}

/** Where good parts reach the highest score there is, no cut lies above them. */
function belowOne(cut: ConformalCut): ConformalCut {
  return cut.cut !== null && cut.cut >= 1 ? { ...cut, cut: null } : cut;
}

function labelPromise({ cut, samples, missing }: ConformalCut, alpha: number) {
  return { alpha, kept: cut !== null, samples, missing };
}
