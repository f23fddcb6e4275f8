/**
 * Where to cut, from the scores of a set-up's pictures, and what may be promised of it.
 * In: scores that no picture's own teaching has touched, the cuts in use, and whether the pictures were taken as they came. Out: a
 * Curve, and the thresholds that a person's choice makes. A promise holds only for parts drawn as the pictures were: of pictures
 * that somebody picked nothing is promised, however many there are; and of cuts moved by hand only what still follows. Pure.
 */
import { chooseThresholds, tradeOff, WANTED } from "@kenpin/inspector";
import type { Curve, SaveRequest, ThresholdPromise, Thresholds } from "@kenpin/schema";
import { samplesNeeded } from "@kenpin/stats";

type Scores = { good: readonly number[]; bad: readonly number[]; unsorted: readonly number[] };

export function curveOf({ good, bad, unsorted }: Scores, current: Thresholds, asTheyCame: boolean): Curve {
  const proposed = chooseThresholds({ good, bad }, current, { ...WANTED, references: good.length + bad.length });
  return {
    good: [...good],
    bad: [...bad],
    unsorted: [...unsorted],
    points: tradeOff({ good, bad }),
    proposed: asTheyCame || !proposed.promise ? proposed : { ...proposed, promise: picked(proposed.promise) },
  };
}

export function chosenThresholds({ proposed }: Curve, { thresholds, by }: SaveRequest): Thresholds {
  const { pass, cut, fail } = thresholds;
  if (pass === proposed.pass && cut === proposed.cut && fail === proposed.fail) return proposed;
  const chosenBy = `${by}, by hand; proposed was ${proposed.cut.toFixed(4)} (${proposed.chosenBy})`.slice(0, 300);
  const promise = proposed.promise && narrowed(proposed.promise, { bad: pass <= proposed.pass, good: fail >= proposed.fail });
  return { pass, cut, fail, chosenBy, ...(promise && { promise }) };
}

/** Every sample is wanting: those there are were not drawn at random. */
function picked(promise: ThresholdPromise): ThresholdPromise {
  const none = narrowed(promise, { bad: false, good: false });
  const missing = (alpha: number) => samplesNeeded(alpha, promise.confidence);
  return {
    ...none,
    bad: { ...none.bad, missing: missing(none.bad.alpha) },
    good: { ...none.good, missing: missing(none.good.alpha) },
  };
}

function narrowed(promise: ThresholdPromise, still: { bad: boolean; good: boolean }): ThresholdPromise {
  const kept = { bad: promise.bad.kept && still.bad, good: promise.good.kept && still.good };
  return {
    ...promise,
    method: kept.bad || kept.good ? promise.method : "none",
    bad: { ...promise.bad, kept: kept.bad },
    good: { ...promise.good, kept: kept.good },
    coverage: kept.bad && kept.good ? promise.coverage : null,
  };
}
