/**
 * Where to cut, from scores of good and of bad parts: what may be promised first, what is merely likely where nothing may.
 * In: scores that no picture's own teaching has touched, drawn at random from what the line makes; the cuts in use. Out:
 * Thresholds with their promise, and the curve of overkill against escape for whoever chooses by hand. Pure.
 */
import type { ThresholdPromise, Thresholds } from "@kenpin/schema";
import { type ConformalCut, conformalCut, normalUpperLimit } from "@kenpin/stats";

export type CalibrationScores = { good: readonly number[]; bad: readonly number[] };
export type Wanted = {
  /** Share of bad parts that may pass, and of good parts that may be stopped. */
  alphaBad: number;
  alphaGood: number;
  /** Of this very calibration; null promises it on average over calibrations. */
  confidence: number | null;
};
export type TradeOffPoint = { cut: number; overkill: number | null; escape: number | null };

export const WANTED: Wanted = { alphaBad: 0.05, alphaGood: 0.1, confidence: null };
/** Of the stopgap, which has no average to promise. */
const STOPGAP_CONFIDENCE = 0.9;

export function chooseThresholds({ good, bad }: CalibrationScores, current: Thresholds, wanted: Wanted = WANTED): Thresholds {
  const { alphaBad, alphaGood, confidence } = wanted;
  const lower = conformalCut(bad, { label: "bad", alpha: alphaBad, confidence });
  const upper = belowOne(conformalCut(good, { label: "good", alpha: alphaGood, confidence }));
  const promise = (method: ThresholdPromise["method"], kept = { bad: lower.cut !== null, good: upper.cut !== null }): ThresholdPromise => ({
    method,
    bad: labelPromise(lower, alphaBad, kept.bad),
    good: labelPromise(upper, alphaGood, kept.good),
    confidence,
    coverage: kept.bad && kept.good ? 1 - Math.max(alphaBad, alphaGood) : null,
  });
  const by = `${good.length} good and ${bad.length} bad samples`;
  if (lower.cut !== null && upper.cut !== null)
    return {
      ...joined(lower.cut, above(upper.cut), current.cut),
      chosenBy: `conformal prediction on ${by}`,
      promise: promise("conformal"),
    };
  if (lower.cut !== null) {
    const fail = Math.max(current.fail, lower.cut);
    const cut = Math.min(fail, Math.max(current.cut, lower.cut));
    return { pass: lower.cut, cut, fail, chosenBy: `conformal prediction on ${bad.length} bad samples`, promise: promise("conformal") };
  }
  if (upper.cut !== null)
    return { ...oneCut(above(upper.cut)), chosenBy: `a tolerance limit of ${good.length} good samples`, promise: promise("good-only") };
  const stopgap = bad.length === 0 ? normalUpperLimit(good, { share: alphaGood, confidence: STOPGAP_CONFIDENCE }) : null;
  if (stopgap !== null) {
    const chosenBy = `a normal distribution laid through ${good.length} good samples, a stopgap until there are ${good.length + upper.missing}`;
    return { ...oneCut(stopgap), chosenBy, promise: promise("normal-limit") };
  }
  return { ...current, promise: promise("none") };
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
 * `pass` is above `fail`, any single cut between them keeps both promises, and leaves nothing to a person.
 */
function joined(pass: number, fail: number, cut: number): Pick<Thresholds, "pass" | "cut" | "fail"> {
  if (pass > fail) return oneCut((pass + fail) / 2);
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

function labelPromise({ samples, missing }: ConformalCut, alpha: number, kept: boolean) {
  return { alpha, kept, samples, missing };
}
