/**
 * The bias check: is a bundle worse on one camera, lot, shift or light than on the others, beyond what chance does to few parts?
 * In: each picture's score, label and its value in each column. Out: for each column the rates of every slice with exact 95 %
 * intervals, and the worst gap between one slice and all others. Looking at many slices finds a gap by chance, so the gap's
 * interval has the level 1 − 0.05 / comparisons (Bonferroni); a gap is real where that interval leaves out 0.
 */
import type { EvaluationSlice } from "@kenpin/schema";
import { auroc, type Count, differenceInterval, exactInterval, quantile } from "@kenpin/stats";
import { columnsOf, type Scored } from "./image-figures.ts";

export type SlicedPicture = Scored & { columns: Readonly<Record<string, string>> };
type RateName = "escapeRate" | "overkillRate";
type Slice = EvaluationSlice["slices"][number];
type Gap = NonNullable<EvaluationSlice["worstGap"]>;

const LEVEL = 0.95;
/** Fewer parts than this on either side say nothing that an interval would let stand. */
const LEAST = 5;
const SLICES = 200;
const RATES: { rate: RateName; label: Scored["label"]; en: string; ja: string }[] = [
  { rate: "escapeRate", label: "bad", en: "escapes", ja: "見逃し率" },
  { rate: "overkillRate", label: "good", en: "overkill", ja: "過検出率" },
];

/** Every column that has two values or more; all columns' comparisons count together. */
export function findGaps(pictures: readonly SlicedPicture[], cut: number): EvaluationSlice[] {
  const columns = [...new Set(pictures.flatMap((picture) => Object.keys(picture.columns)))].sort();
  const valued = columns.map((column) => ({ column, values: valuesOf(pictures, column) })).filter(({ values }) => values.length > 1);
  const candidates = valued.map(({ column, values }) => ({
    column,
    values,
    gaps: values.flatMap((value) => gapsOf(pictures, { column, value, cut })),
  }));
  const comparisons = candidates.reduce((sum, { gaps }) => sum + gaps.length, 0);
  return candidates.map(({ column, values, gaps }) => {
    const worstGap = worstOf(gaps, comparisons);
    const slices = values.map((value) =>
      sliceOf(
        pictures.filter((one) => one.columns[column] === value),
        value,
        cut,
      ),
    );
    return { column, slices, worstGap, sentence: sentenceOf(column, worstGap) };
  });
}

/** Dark, middle and bright thirds of the pictures. */
export function brightnessSlices(values: readonly number[]): string[] {
  const [dark, bright] = [quantile(values, 1 / 3), quantile(values, 2 / 3)];
  return values.map((value) => (value < dark ? "dark" : value < bright ? "middle" : "bright"));
}

/** The most frequent ones; a column of a thousand part numbers is no question of slices. */
function valuesOf(pictures: readonly SlicedPicture[], column: string): string[] {
  const counts = new Map<string, number>();
  for (const { columns } of pictures) {
    const value = columns[column];
    if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  const ranked = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  return ranked.slice(0, SLICES).map(([value]) => value);
}

function sliceOf(pictures: readonly SlicedPicture[], value: string, cut: number): Slice {
  const { scores, labels } = columnsOf(pictures);
  const area = new Set(labels).size === 2 ? auroc(scores, labels) : null;
  const right = pictures.filter((one) => isWrong(one, cut) === false).length;
  return {
    value,
    auroc: area,
    accuracy: rateOf({ count: right, of: pictures.length }),
    escapeRate: rateOf(wrongOf(pictures, "bad", cut)),
    overkillRate: rateOf(wrongOf(pictures, "good", cut)),
  };
}

type Candidate = { rate: RateName; value: string; own: Count; others: Count };

function gapsOf(pictures: readonly SlicedPicture[], { column, value, cut }: { column: string; value: string; cut: number }): Candidate[] {
  const known = pictures.filter((one) => one.columns[column] !== undefined);
  const [inside, outside] = [known.filter((one) => one.columns[column] === value), known.filter((one) => one.columns[column] !== value)];
  return RATES.map(({ rate, label }) => ({ rate, value, own: wrongOf(inside, label, cut), others: wrongOf(outside, label, cut) })).filter(
    ({ own, others }) => own.of >= LEAST && others.of >= LEAST,
  );
}

/** The one whose interval leaves 0 by the most, or comes nearest to it: a large gap of five parts is no finding. */
function worstOf(gaps: readonly Candidate[], comparisons: number): Gap | null {
  const level = 1 - (1 - LEVEL) / Math.max(1, comparisons);
  let worst: (Gap & { beyond: number }) | null = null;
  for (const { rate, value, own, others } of gaps) {
    const interval = differenceInterval(own, others, level);
    const beyond = Math.max(interval.low, -interval.high);
    if (worst && beyond <= worst.beyond) continue;
    const gap = own.count / own.of - others.count / others.of;
    worst = { rate, value, gap, interval, level, comparisons, beyondChance: beyond > 0, beyond };
  }
  if (!worst) return null;
  const { beyond: _, ...found } = worst;
  return found;
}

function sentenceOf(column: string, worst: Gap | null): EvaluationSlice["sentence"] {
  if (!worst) {
    return {
      en: `${column}: too few pictures in each slice to say whether one is worse than the others.`,
      ja: `${column}:各区分の画像が少なすぎて、差があるかどうかは判断できません。`,
    };
  }
  const { en, ja } = RATES.find(({ rate }) => rate === worst.rate) as (typeof RATES)[number];
  if (worst.gap === 0) {
    return {
      en: `${column}: no slice has more ${en} than the others (${worst.comparisons} comparisons).`,
      ja: `${column}:${ja}が高い区分はありません(${worst.comparisons}通りの比較)。`,
    };
  }
  const points = (value: number) => (100 * value).toFixed(1);
  const { low, high } = worst.interval;
  const more = worst.gap >= 0;
  const size = points(Math.abs(worst.gap));
  const spread = `${points(low)} to ${points(high)}`;
  return worst.beyondChance
    ? {
        en: `${column} = ${worst.value} has ${size} points ${more ? "more" : "fewer"} ${en} than all others (${spread}), more than chance explains over ${worst.comparisons} comparisons.`,
        ja: `${column}=${worst.value}の${ja}はほかより${size}ポイント${more ? "高く" : "低く"}(${points(low)}〜${points(high)})、${worst.comparisons}通りを比べたことを考えても偶然とは言えません。`,
      }
    : {
        en: `${column}: no gap beyond chance; the largest is ${column} = ${worst.value} with ${size} points ${more ? "more" : "fewer"} ${en} (${spread}, ${worst.comparisons} comparisons).`,
        ja: `${column}:偶然を超える差は見つかりません。最も大きいのは${column}=${worst.value}で、${ja}が${size}ポイント${more ? "高い" : "低い"}差です(${points(low)}〜${points(high)}、${worst.comparisons}通りの比較)。`,
      };
}

function wrongOf(pictures: readonly SlicedPicture[], label: Scored["label"], cut: number): Count {
  const own = pictures.filter((one) => one.label === label);
  return { count: own.filter((one) => isWrong(one, cut)).length, of: own.length };
}

function isWrong({ score, label }: Scored, cut: number): boolean {
  return score >= cut !== (label === "bad");
}

function rateOf({ count, of }: Count): Slice["accuracy"] {
  return { value: of === 0 ? null : count / of, of, ...exactInterval({ count, of }, LEVEL) };
}
