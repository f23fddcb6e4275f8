/**
 * One seed of an evaluation: pictures are dealt, the model and its opponents are taught on the same exemplars and judge the same
 * pictures. In: pictures that were looked at, a plan, a judge. Out: every score, as plain JSON that a cut-off evaluation finds again.
 */
import { KenpinError } from "@kenpin/schema";
import { createRandom, quantile } from "@kenpin/stats";
import { z } from "zod";
import { fitBaseline } from "./baseline.ts";
import type { BundleJudge } from "./bundle-judge.ts";
import type { SeenPicture } from "./evaluated-picture.ts";
import { type Dealt, dealFewShot, dealReferences } from "./protocol.ts";

export type Plan = {
  name: "words" | "references" | "fewshot";
  references: number;
  exemplars: number;
  calibration: number;
  test: number | null;
  seeds: number[];
  alpha: number;
};

const Score = z.strictObject({ key: z.string(), part: z.enum(["calibration", "test"]), score: z.number().min(0).max(1) });
export const SeedRun = z.strictObject({
  seed: z.int().min(0),
  exemplars: z.int().min(0),
  scores: z.array(Score),
  /** Of the test pictures, in their order. */
  baseline: z.array(z.number()).nullable(),
  randomWeights: z.array(z.number()).nullable(),
});
export type SeedRun = z.infer<typeof SeedRun>;
/** `judge` is taught here; with retraining it is made of the exemplars first. */
export type JudgeFor = (exemplars: readonly SeenPicture[], seed: number) => Promise<BundleJudge>;

const FOLDS = 5;

export function deal(pictures: readonly SeenPicture[], plan: Plan, seed: number): Dealt<SeenPicture> {
  return plan.name === "fewshot" ? dealFewShot(pictures, plan, seed) : dealReferences(pictures, plan, seed);
}

export async function runSeed(
  dealt: Dealt<SeenPicture>,
  { seed, judge, random, onPicture }: { seed: number; judge: BundleJudge; random: BundleJudge | null; onPicture: () => void },
): Promise<SeedRun> {
  await judge.teach(dealt.exemplars);
  for (const _ of dealt.exemplars) onPicture();
  const scores: SeedRun["scores"] = [];
  for (const part of ["calibration", "test"] as const) {
    for (const picture of dealt[part]) {
      scores.push({ key: picture.key, part, score: finite(await judge.score(picture), picture.key) });
      onPicture();
    }
  }
  return {
    seed,
    exemplars: dealt.exemplars.length,
    scores,
    baseline: baselineOf(dealt, seed),
    randomWeights: random ? await scoresBy(random, dealt, onPicture) : null,
  };
}

async function scoresBy(judge: BundleJudge, { exemplars, test }: Dealt<SeenPicture>, onPicture: () => void): Promise<number[]> {
  await judge.teach(exemplars);
  const scores: number[] = [];
  for (const picture of test) {
    scores.push(await judge.score(picture));
    onPicture();
  }
  return scores;
}

/** Taught on what the model is taught on; where that is nothing, on the other folds of the test itself, whose labels the model never sees. */
function baselineOf({ exemplars, test }: Dealt<SeenPicture>, seed: number): number[] | null {
  if (exemplars.some(({ label }) => label === "good")) {
    const scoreOf = fitBaseline(exemplars);
    return test.map(({ row }) => scoreOf(row));
  }
  const folds = foldsOf(test, seed);
  const scores = new Array<number>(test.length).fill(0);
  for (let fold = 0; fold < FOLDS; fold++) {
    const others = test.filter((_, i) => folds[i] !== fold);
    if (new Set(others.map(({ label }) => label)).size < 2) return null;
    const scoreOf = fitBaseline(others);
    for (const [i, { row }] of test.entries()) if (folds[i] === fold) scores[i] = scoreOf(row);
  }
  return scores;
}

function foldsOf(test: readonly SeenPicture[], seed: number): number[] {
  const random = createRandom(seed);
  const folds = new Array<number>(test.length).fill(0);
  for (const label of ["good", "bad"]) {
    const own = random.shuffle(test.flatMap((picture, i) => (picture.label === label ? [i] : [])));
    for (const [place, i] of own.entries()) folds[i] = place % FOLDS;
  }
  return folds;
}

function finite(score: number, key: string): number {
  if (Number.isFinite(score)) return score;
  throw new KenpinError("score-not-finite", `${key} scored no number; the model is broken, evaluate another bundle`);
}

export function spreadOf(values: readonly number[]): { p50: number; p95: number } {
  return { p50: quantile(values, 0.5), p95: quantile(values, 0.95) };
}
