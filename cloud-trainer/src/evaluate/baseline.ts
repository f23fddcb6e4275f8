/**
 * The plain opponent: hand-made features and logistic regression, taught on the very pictures that the model is taught on.
 * Each feature is taken in deviations of the good pictures, with its sign and without: what is defective may lie on either side.
 * In: rows of plain features. Out: a function from a row to the probability of "bad", or with good rows alone to how far it lies
 * from them, as a number in [0, 1] that only ranks.
 */
import { readFile } from "node:fs/promises";
import { decodeImage } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { deviation, logisticRegression, mean } from "@kenpin/stats";
import { z } from "zod";
import { plainFeatures } from "./plain-features.ts";

export const BaselineRequest = z.strictObject({
  train: z
    .array(z.strictObject({ file: z.string(), label: z.enum(["good", "bad"]) }))
    .min(2)
    .max(100_000),
  test: z.array(z.string()).max(100_000),
});
export type BaselineRequest = z.infer<typeof BaselineRequest>;
export type LabelledRow = { row: readonly number[]; label: "good" | "bad" };

/** A hundred columns and as few pictures: weights must be kept small. */
const PENALTY = 10;
/** Past this many deviations a feature is no more certain, and would only bend the line. */
const LARGEST = 5;

export function fitBaseline(exemplars: readonly LabelledRow[]): (row: readonly number[]) => number {
  const labels = exemplars.map(({ label }) => (label === "bad" ? 1 : 0));
  if (!labels.includes(0)) throw new KenpinError("one-class-only", "the baseline needs good pictures to learn from; none was given");
  const inDeviations = deviationsFrom(exemplars.filter(({ label }) => label === "good").map(({ row }) => row));
  if (!labels.includes(1)) {
    return (row) => {
      const distance = mean(inDeviations(row).map((value) => Math.min(LARGEST, Math.abs(value)) ** 2));
      return distance / (1 + distance);
    };
  }
  const columns = (row: readonly number[]) => {
    const values = inDeviations(row);
    return [...values, ...values.map((value) => Math.min(LARGEST, Math.abs(value)))];
  };
  const probabilityOfBad = logisticRegression(
    exemplars.map(({ row }) => columns(row)),
    labels,
    PENALTY,
  );
  return (row) => probabilityOfBad(columns(row));
}

export async function baselineScores({ train, test }: BaselineRequest): Promise<number[]> {
  if (new Set(train.map(({ label }) => label)).size < 2) {
    throw new KenpinError("one-class-only", "the baseline needs good and bad pictures to learn from; only one of the two was given");
  }
  const exemplars: LabelledRow[] = [];
  for (const { file, label } of train) exemplars.push({ row: await featuresOf(file), label });
  const scoreOf = fitBaseline(exemplars);
  const scores: number[] = [];
  for (const file of test) scores.push(scoreOf(await featuresOf(file)));
  return scores;
}

function deviationsFrom(good: readonly (readonly number[])[]): (row: readonly number[]) => number[] {
  const columns = (good[0] ?? []).map((_, j) => good.map((row) => row[j] as number));
  const moments = columns.map((values) => ({ centre: mean(values), scale: deviation(values) || 1 }));
  return (row) => row.map((value, j) => (value - (moments[j]?.centre as number)) / (moments[j]?.scale as number));
}

async function featuresOf(file: string): Promise<number[]> {
  return plainFeatures(await decodeImage(await readFile(file)));
}
