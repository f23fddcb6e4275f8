/**
 * What a threshold means, as sentences in English and Japanese; the agent's page and the terminal say the same. Nothing is said that
 * the pictures do not bear out: of fewer than ten only what was counted, and a promise only where one is kept.
 * In: a Curve, the cuts that were chosen, the sentences of a language. Out: lines. Pure; it runs in a browser too.
 */
import type { Curve, SaveRequest } from "@kenpin/schema";

type Say = (some: number, of: number) => string;

const en = {
  meanGood: (about: number, count: number) => `Of 100 good parts about ${about} would be stopped (${count} good pictures).`,
  meanBad: (about: number, count: number) => `Of 100 bad parts about ${about} would pass (${count} bad pictures).`,
  countGood: (stopped: number, count: number) => `${stopped} of the ${count} good pictures would be stopped.`,
  countBad: (passed: number, count: number) => `${passed} of the ${count} bad pictures would pass.`,
  countUnsorted: (stopped: number, count: number) => `${stopped} of the ${count} pictures that were not sorted would be stopped.`,
  promiseGood: (most: number) => `Promised, on average: at most ${most} of 100 good parts are stopped.`,
  promiseBad: (most: number) => `Promised, on average: at most ${most} of 100 bad parts pass.`,
  stopgap: "There are too few good pictures to promise that: the line is drawn by a normal distribution, as a stopgap.",
  noGood: "No picture was marked good, so nothing can be said about good parts that would be stopped.",
  goodMissing: (count: number) => `Nothing can be promised about good parts until ${count} more of them, drawn at random, are labelled.`,
  badMissing: (count: number) => `Nothing can be promised about bad parts until ${count} more of them, drawn at random, are labelled.`,
  withoutPictures: "With no pictures this is the threshold that decides now.",
};

const ja: typeof en = {
  meanGood: (about, count) => `良品100個のうち約${about}個が止まります（良品${count}枚から）。`,
  meanBad: (about, count) => `不良品100個のうち約${about}個が通過します（不良品${count}枚から）。`,
  countGood: (stopped, count) => `良品${count}枚のうち${stopped}枚が止まります。`,
  countBad: (passed, count) => `不良品${count}枚のうち${passed}枚が通過します。`,
  countUnsorted: (stopped, count) => `未分類の${count}枚のうち${stopped}枚が止まります。`,
  promiseGood: (most) => `保証（平均）: 良品100個のうち止まるのは${most}個以下です。`,
  promiseBad: (most) => `保証（平均）: 不良品100個のうち通過するのは${most}個以下です。`,
  stopgap: "保証には良品の画像が足りません。正規分布を仮定した暫定の線です。",
  noGood: "良品の画像がないため、良品がどれだけ止まるかは言えません。",
  goodMissing: (count) => `無作為に選んだ良品にあと${count}個ラベルが付くまで、良品については何も保証できません。`,
  badMissing: (count) => `無作為に選んだ不良品にあと${count}個ラベルが付くまで、不良品については何も保証できません。`,
  withoutPictures: "画像がないため、現在判定に使っているしきい値です。",
};

export const MEANING = { en, ja };

const WORTH_A_SHARE = 10;

export function meaningLines({ good, bad, unsorted, proposed }: Curve, { pass, fail }: SaveRequest["thresholds"], t: typeof en): string[] {
  const { promise } = proposed;
  const stopped = (scores: readonly number[]) => scores.filter((score) => score >= fail).length;
  const passed = bad.filter((score) => score < pass).length;
  const keepsGood = promise?.good.kept === true && fail >= proposed.fail;
  const keepsBad = promise?.bad.kept === true && pass <= proposed.pass;
  const missing = { good: promise?.good.missing ?? 0, bad: promise?.bad.missing ?? 0 };
  return [
    good.length + bad.length + unsorted.length === 0 && t.withoutPictures,
    good.length === 0 ? t.noGood : share(stopped(good), good.length, { of100: t.meanGood, counted: t.countGood }),
    bad.length > 0 && share(passed, bad.length, { of100: t.meanBad, counted: t.countBad }),
    unsorted.length > 0 && t.countUnsorted(stopped(unsorted), unsorted.length),
    promise && keepsGood && t.promiseGood(Math.round(promise.good.alpha * 100)),
    promise && keepsBad && t.promiseBad(Math.round(promise.bad.alpha * 100)),
    promise?.method === "normal-limit" && t.stopgap,
    good.length > 0 && !keepsGood && missing.good > 0 && t.goodMissing(missing.good),
    !keepsBad && missing.bad > 0 && t.badMissing(missing.bad),
  ].filter((line) => typeof line === "string");
}

/** Of a handful only what was counted is said; a hundred of them would be made up. */
function share(count: number, of: number, { of100, counted }: { of100: Say; counted: Say }): string {
  return of < WORTH_A_SHARE ? counted(count, of) : of100(Math.round((count / of) * 100), of);
}
