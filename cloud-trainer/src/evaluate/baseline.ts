/**
 * Scores pictures by the plain baseline: features and logistic regression taught on labelled pictures.
 * In: files and labels to learn from, files to score. Out: the probability of "bad" for each, in the order given.
 */
import { readFile } from "node:fs/promises";
import { decodeImage } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { logisticRegression } from "@kenpin/stats";
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

export async function baselineScores({ train, test }: BaselineRequest): Promise<number[]> {
  const labels = train.map(({ label }) => (label === "bad" ? 1 : 0));
  if (new Set(labels).size < 2) {
    throw new KenpinError("one-class-only", "the baseline needs good and bad pictures to learn from; only one of the two was given");
  }
  const rows: number[][] = [];
  for (const { file } of train) rows.push(await featuresOf(file));
  const probabilityOfBad = logisticRegression(rows, labels);
  const scores: number[] = [];
  for (const file of test) scores.push(probabilityOfBad(await featuresOf(file)));
  return scores;
}

async function featuresOf(file: string): Promise<number[]> {
  return plainFeatures(await decodeImage(await readFile(file)));
}
