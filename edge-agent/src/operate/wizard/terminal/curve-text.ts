/**
 * The scores of a set-up's pictures as a small picture of letters, and the pictures by how unusual they are.
 * In: a Curve, the cuts that were chosen, the texts. Out: lines. Pure.
 */
import type { Curve, PictureRow, SaveRequest } from "@kenpin/schema";
import type { Texts } from "./texts.ts";

type Cuts = SaveRequest["thresholds"];

const CELLS = 50;
const BARS = "▁▂▃▄▅▆▇█";
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
