/**
 * The scores of a set-up's pictures as a small picture of letters, and what a threshold means as sentences. Nothing is said that the
 * pictures do not bear out: of fewer than ten only what was counted, and a promise only where one is kept. In: a Curve, the cuts that
 * were chosen, the texts. Out: lines. Pure.
 */
import type { Curve, PictureRow, SaveRequest } from "@kenpin/schema";
import type { Texts } from "./texts.ts";

type Cuts = SaveRequest["thresholds"];
type Say = (some: number, of: number) => string;

const CELLS = 50;
const BARS = "▁▂▃▄▅▆▇█";
const WORTH_A_SHARE = 10;
const SHOWN = 10;

/** One row a label, its pictures counted by score from 0 to 1, and under them where the line lies. */
export function curveLines({ good, bad, unsorted }: Curve, { pass, cut, fail }: Cuts, t: Texts): string[] {
  const all = [
    { name: t.good, scores: good },
    { name: t.bad, scores: bad },
    { name: t.unsorted, scores: unsorted },
  ];
  const rows = all.filter(({ scores }) => scores.length > 0).map(({ name, scores }) => ({ name: `${name} (${scores.length})`, scores }));
  const width = Math.max(0, ...rows.map(({ name }) => columns(name)));
  const blank = " ".repeat(width + 2);
  const marks: string[] = Array.from({ length: CELLS }, (_, i) => (i >= cellOf(pass) && i <= cellOf(fail) ? "~" : " "));
  marks[cellOf(cut)] = "^";
  const axis = `0${"·".repeat(CELLS / 2 - 3)}0.5${"·".repeat(CELLS / 2 - 2)}1`;
  const bars = rows.map(({ name, scores }) => `${" ".repeat(width - columns(name))}${name}  ${barsOf(scores)}`.trimEnd());
  return [...bars, blank + axis, (blank + marks.join("")).trimEnd()];
}

export function thresholdLine({ pass, cut, fail }: Cuts, t: Texts): string {
  const text = (value: number) => value.toFixed(3);
  return text(pass) === text(fail) ? t.threshold(text(cut)) : t.thresholdWithBand(text(cut), text(pass), text(fail));
}

export function meaningLines({ good, bad, unsorted, proposed }: Curve, { pass, fail }: Cuts, t: Texts): string[] {
  const { promise } = proposed;
  const stopped = (scores: readonly number[]) => scores.filter((score) => score >= fail).length;
  const passed = bad.filter((score) => score < pass).length;
  const keepsGood = promise?.good.kept === true && fail >= proposed.fail;
  const keepsBad = promise?.bad.kept === true && pass <= proposed.pass;
  const missing = { good: promise?.good.missing ?? 0, bad: promise?.bad.missing ?? 0 };
  return [
    good.length + bad.length + unsorted.length === 0 && t.noPictures,
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

export function pictureLines(pictures: readonly PictureRow[], t: Texts): string[] {
  const seen = byStrangeness(pictures);
  if (seen.length === 0) return [];
  const rows = seen.slice(0, SHOWN).map(({ name, sha256, label, look }) => {
    const what = t[label ?? "unsorted"];
    return `  ${look.score.toFixed(3)}  ${what}${" ".repeat(Math.max(0, 11 - columns(what)))}${name || sha256.slice(0, 12)}`;
  });
  return [t.mostUnusual, ...rows, ...(seen.length > SHOWN ? [`  ${t.more(seen.length - SHOWN)}`] : [])];
}

/** Those that were looked at, the most unusual first. */
export function byStrangeness(pictures: readonly PictureRow[]) {
  return pictures.flatMap((row) => (row.look ? [{ ...row, look: row.look }] : [])).sort((a, b) => b.look.score - a.look.score);
}

/** Of a handful only what was counted is said; a hundred of them would be made up. */
function share(count: number, of: number, { of100, counted }: { of100: Say; counted: Say }): string {
  return of < WORTH_A_SHARE ? counted(count, of) : of100(Math.round((count / of) * 100), of);
}

function barsOf(scores: readonly number[]): string {
  const counts = Array.from({ length: CELLS }, () => 0);
  for (const score of scores) counts[cellOf(score)] = (counts[cellOf(score)] as number) + 1;
  const most = Math.max(...counts);
  return counts.map((count) => (count === 0 ? " " : (BARS[Math.ceil((count / most) * BARS.length) - 1] as string))).join("");
}

function cellOf(score: number): number {
  return Math.min(CELLS - 1, Math.floor(score * CELLS));
}

/** A Japanese letter is two columns wide on a terminal. */
function columns(text: string): number {
  return [...text].reduce((sum, letter) => sum + (/[\u2e80-\ua4cf\uf900-\ufaff\uff00-\uff60]/.test(letter) ? 2 : 1), 0);
}
