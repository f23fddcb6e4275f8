/**
 * Evaluates a bundle on pictures that it has not learned from, over one seed or many, beside a plain opponent and, if asked for, the
 * same architecture with random weights. In: pictures that were looked at, a plan, judges. Out: the figures of the contract
 * (packages/schema, evaluation.ts), and every score.
 * Maps and times are of the first seed only: they change little from seed to seed and take longest.
 */
import type { Evaluation } from "@kenpin/schema";
import { createPixelRanking } from "@kenpin/stats";
import type { BundleJudge } from "./bundle-judge.ts";
import { readMask, type SeenPicture } from "./evaluated-picture.ts";
import { type Evaluated, type Looks, type Summing, summarise } from "./evaluation-figures.ts";
import type { Dealt } from "./protocol.ts";
import { deal, type JudgeFor, runSeed, type SeedRun } from "./seed-run.ts";

export type EvaluateOptions = Summing & {
  judgeFor: JudgeFor;
  random: BundleJudge | null;
  /** Seeds of an evaluation that was cut off. */
  kept: { read: (seed: number) => Promise<SeedRun | null>; write: (run: SeedRun) => Promise<void> };
  onProgress: (what: string, done: number, of: number) => void;
};

const TIMED = 60;

export async function evaluate(options: EvaluateOptions): Promise<Evaluated> {
  const { pictures, plan, kept, judgeFor, random, onProgress } = options;
  const first = deal(pictures, plan, plan.seeds[0] as number);
  const each = first.exemplars.length + first.calibration.length + first.test.length * (random ? 2 : 1);
  let done = 0;
  const onPicture = () => onProgress("judged", ++done, each * plan.seeds.length);
  const runs: SeedRun[] = [];
  let looks: Looks | null = null;
  for (const [i, seed] of plan.seeds.entries()) {
    const known = await kept.read(seed);
    const dealt = deal(pictures, plan, seed);
    if (!known || i === 0) {
      const judge = await judgeFor(dealt.exemplars, seed);
      try {
        const run = known ?? (await runSeed(dealt, { seed, judge, random, onPicture }));
        if (known) await judge.teach(dealt.exemplars);
        else await kept.write(run);
        runs.push(run);
        looks ??= await lookCloser(judge, dealt, options);
      } finally {
        await judge.close();
      }
    } else runs.push(known);
    if (known) for (let picture = 0; picture < each; picture++) onPicture();
  }
  return summarise(runs, looks as Looks, options);
}

async function lookCloser(judge: BundleJudge, { test }: Dealt<SeenPicture>, { thresholds, onProgress }: EvaluateOptions): Promise<Looks> {
  const pixel = await pixelFigures(judge, test, onProgress);
  return { pixel, times: await judge.times(evenly(test, TIMED), thresholds) };
}

/** Null where no defective picture has a mask. Good pictures have none to have; a defective one without says nothing. */
async function pixelFigures(
  judge: BundleJudge,
  test: readonly SeenPicture[],
  onProgress: EvaluateOptions["onProgress"],
): Promise<Evaluation["pixel"]> {
  const known = test.filter(({ label, mask }) => label === "good" || mask !== null);
  const masked = known.filter(({ mask }) => mask !== null).length;
  if (masked === 0) return null;
  const ranking = createPixelRanking();
  for (const [i, picture] of known.entries()) {
    const { values, width, height } = await judge.heat(picture);
    ranking.add({ values, mask: (await readMask(picture, { width, height })).values, width, height });
    onProgress("mapped", i + 1, known.length);
  }
  const figure = (value: number) => (Number.isNaN(value) ? null : Math.min(1, value));
  return { auroc: figure(ranking.auroc()), aupro: figure(ranking.perRegionOverlap()), pictures: masked, regions: ranking.regions() };
}

function evenly<T>(items: readonly T[], count: number): T[] {
  const step = Math.max(1, items.length / count);
  return Array.from({ length: Math.min(count, items.length) }, (_, i) => items[Math.floor(i * step)] as T);
}
