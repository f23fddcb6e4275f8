/**
 * From the scores of all seeds to the contract's figures: means and standard errors, coverage, opponents, kinds of defect, mistakes,
 * slices. In: the seeds' scores, and what was seen more closely in the first. Out: the contract's object but for what is known of
 * bundle, data and machine. A picture that several seeds judged counts once where pictures are counted. Pure.
 */
import type { Evaluation, Thresholds } from "@kenpin/schema";
import { brierScore, calibrationError, mean } from "@kenpin/stats";
import { type Outcome, outcomeOf, type StageMs } from "./bundle-judge.ts";
import { coverageOf } from "./coverage.ts";
import type { SeenPicture } from "./evaluated-picture.ts";
import { columnsOf, imageFigures, imageIntervals, meansOf, type Scored, standardErrorsOf, tradeOff } from "./image-figures.ts";
import { type Plan, type SeedRun, spreadOf } from "./seed-run.ts";
import { brightnessSlices, findGaps } from "./slices.ts";

export type ScoreRow = {
  file: string;
  kind: string;
  label: "good" | "bad";
  split: "calibration" | "test";
  seed: number;
  score: number;
  outcome: Outcome;
};
/** Seen in the first seed only. */
export type Looks = { pixel: Evaluation["pixel"]; times: StageMs[] };
export type Summing = {
  pictures: readonly SeenPicture[];
  plan: Plan;
  thresholds: Thresholds;
  /** Of each picture's key, its value in each column to slice by. */
  columns: ReadonlyMap<string, Readonly<Record<string, string>>>;
};
type Figures = Pick<
  Evaluation,
  | "image"
  | "pixel"
  | "coverage"
  | "decidedRatio"
  | "calibrationError"
  | "adaptiveCalibrationError"
  | "brier"
  | "undecidedRate"
  | "latencyMs"
  | "baseline"
  | "randomWeights"
  | "standardErrors"
  | "intervals"
  | "seeds"
  | "kinds"
  | "tradeOff"
  | "escapes"
  | "overkills"
  | "slices"
>;
export type Evaluated = { figures: Figures; used: Evaluation["protocol"]["used"]; scores: ScoreRow[] };
type Judged = Scored & { picture: SeenPicture };

const MISTAKES = 50;

export function summarise(runs: readonly SeedRun[], { pixel, times }: Looks, options: Summing): Evaluated {
  const { pictures, plan, thresholds } = options;
  const byKey = new Map(pictures.map((picture) => [picture.key, picture]));
  const judgedIn = ({ scores }: SeedRun, part: "calibration" | "test"): Judged[] =>
    scores
      .filter((one) => one.part === part)
      .map(({ key, score }) => {
        const picture = byKey.get(key) as SeenPicture;
        return { score, label: picture.label, picture };
      });
  const tests = runs.map((run) => judgedIn(run, "test"));
  const perSeed = runs.map((run, i) => figuresOfSeed(run, tests[i] as Judged[], judgedIn(run, "calibration"), options));
  const all = tests.flat();
  const meant = meanScores(all);
  const several = runs.length > 1;
  const [cut, firstTest] = [thresholds.cut, tests[0] as Judged[]];
  const errors = {
    image: standardErrorsOf(perSeed.map(({ image }) => image)),
    coverage: standardErrorsOf(perSeed.map(({ coverage }) => coverage)),
    calibrationError: standardErrorsOf(perSeed.map(({ single }) => single)).calibrationError,
  };
  const single = meansOf(perSeed.map((one) => one.single));
  const undecided = (label: Scored["label"]) => meansOf(perSeed.map((one) => ({ of: one.undecided[label] }))).of;
  const figures: Figures = {
    image: meansOf(perSeed.map(({ image }) => image)),
    pixel,
    coverage: meansOf(perSeed.map(({ coverage }) => coverage)),
    ...single,
    undecidedRate: { good: undecided("good"), defective: undecided("bad") },
    latencyMs: latencies(times),
    baseline: opponent(runs, tests, "baseline", cut, howBaseline(plan)),
    randomWeights: opponent(runs, tests, "randomWeights", cut, HOW_RANDOM),
    standardErrors: several ? errors : null,
    intervals: several ? null : imageIntervals(firstTest, cut),
    seeds: perSeed.map(({ seed, image, coverage, single: { calibrationError: error }, baseline }) => ({
      seed,
      image,
      coverage,
      calibrationError: error,
      baseline,
    })),
    kinds: kindFigures(tests, cut),
    tradeOff: tradeOff(all),
    escapes: mistakes(meant, "bad", cut),
    overkills: mistakes(meant, "good", cut),
    slices: findGaps(slicedPictures(meant, options), cut),
  };
  const good = firstTest.filter(({ label }) => label === "good").length;
  const calibrated = judgedIn(runs[0] as SeedRun, "calibration").length;
  const taught = (runs[0] as SeedRun).exemplars;
  const used = {
    references: plan.name === "fewshot" ? 0 : taught,
    exemplars: plan.name === "fewshot" ? taught : 0,
    calibration: calibrated,
    test: firstTest.length,
    testGood: good,
    testDefective: firstTest.length - good,
  };
  return { figures, used, scores: scoreRows(runs, byKey, thresholds) };
}

function figuresOfSeed(
  { seed, baseline }: SeedRun,
  test: readonly Judged[],
  calibration: readonly Judged[],
  { plan, thresholds }: Summing,
) {
  const { scores, labels } = columnsOf(test);
  const { coverage, decidedRatio } = coverageOf(test, calibration.length > 0 ? calibration : null, plan.alpha);
  const undecided = (label: Scored["label"]) => {
    const own = test.filter((one) => one.label === label);
    return own.length === 0 ? null : mean(own.map(({ score }) => Number(outcomeOf(score, thresholds) === "unknown")));
  };
  return {
    seed,
    image: imageFigures(test, thresholds.cut),
    coverage,
    single: {
      decidedRatio,
      calibrationError: calibrationError(scores, labels),
      adaptiveCalibrationError: calibrationError(scores, labels, { binning: "adaptive" }),
      brier: brierScore(scores, labels),
    },
    undecided: { good: undecided("good"), bad: undecided("bad") },
    baseline: baseline && { image: imageFigures(rescored(test, baseline), thresholds.cut) },
  };
}

function opponent(
  runs: readonly SeedRun[],
  tests: readonly Judged[][],
  which: "baseline" | "randomWeights",
  cut: number,
  how: { en: string; ja: string },
): Evaluation["baseline"] {
  const rows = runs.flatMap((run, i) => (run[which] ? [imageFigures(rescored(tests[i] as Judged[], run[which]), cut)] : []));
  if (rows.length === 0) return null;
  return { image: meansOf(rows), standardErrors: rows.length > 1 ? { image: standardErrorsOf(rows) } : null, how };
}

const HOW_RANDOM = {
  en: "the same architecture with random weights, taught and asked in the same way",
  ja: "同じ構造で重みが乱数のモデルを、同じように教えて判定させたもの",
};

function howBaseline({ name, references }: Plan): { en: string; ja: string } {
  const numbers = {
    en: "hand-made numbers of each picture (spectrum, roughness, colour)",
    ja: "画像から手作業で選んだ数値(周波数、粗さ、色)",
  };
  if (name === "fewshot")
    return { en: `${numbers.en}, logistic regression on the same exemplars`, ja: `${numbers.ja}を、同じ見本でロジスティック回帰したもの` };
  if (references > 0) return { en: `${numbers.en}, distance from the same references`, ja: `${numbers.ja}の、同じ良品見本からの距離` };
  return {
    en: `${numbers.en}, logistic regression cross-validated on the test pictures' own labels, which the model does not see`,
    ja: `${numbers.ja}を、モデルには見せない試験画像のラベルで交差検証したロジスティック回帰`,
  };
}

function rescored(test: readonly Judged[], scores: readonly number[]): Scored[] {
  return test.map(({ label }, i) => ({ label, score: scores[i] as number }));
}

/** A picture that several seeds judged counts once, by its mean score. */
function meanScores(judged: readonly Judged[]): (Judged & { judged: number })[] {
  const groups = new Map<string, Judged[]>();
  for (const one of judged) groups.set(one.picture.key, [...(groups.get(one.picture.key) ?? []), one]);
  return [...groups.values()].map((group) => ({
    ...(group[0] as Judged),
    score: mean(group.map(({ score }) => score)),
    judged: group.length,
  }));
}

function mistakes(meant: readonly (Judged & { judged: number })[], label: Scored["label"], cut: number): Evaluation["escapes"] {
  return meant
    .filter((one) => one.label === label && score01(one.score) >= cut !== (label === "bad"))
    .sort((a, b) => Math.abs(b.score - cut) - Math.abs(a.score - cut))
    .slice(0, MISTAKES)
    .map(({ picture, score, judged }) => ({ picture: picture.key, kind: picture.kind, score, judged }));
}

/** Means of scores may leave [0, 1] by a rounding. */
function score01(score: number): number {
  return Math.min(1, Math.max(0, score));
}

function kindFigures(tests: readonly Judged[][], cut: number): Evaluation["kinds"] {
  const kinds = [...new Set(tests.flat().flatMap(({ picture, label }) => (label === "bad" ? [picture.kind] : [])))].sort();
  return kinds.map((kind) => {
    const rows = tests.map((test) =>
      imageFigures(
        test.filter(({ label, picture }) => label === "good" || picture.kind === kind),
        cut,
      ),
    );
    const judged = new Set(tests.flat().flatMap(({ picture }) => (picture.kind === kind ? [picture.key] : [])));
    const { auroc, escapeRate } = meansOf(rows);
    return { kind, pictures: judged.size, auroc, escapeRate };
  });
}

function slicedPictures(meant: readonly Judged[], { columns }: Summing) {
  const lights = brightnessSlices(meant.map(({ picture }) => picture.brightness));
  return meant.map(({ score, label, picture }, i) => ({
    score,
    label,
    columns: { brightness: lights[i] as string, ...columns.get(picture.key) },
  }));
}

function latencies(times: readonly StageMs[]): Evaluation["latencyMs"] {
  const of = (stage: keyof StageMs) => spreadOf(times.map((ms) => ms[stage]));
  return {
    decode: of("decode"),
    preprocess: of("preprocess"),
    infer: of("infer"),
    map: of("map"),
    decide: of("decide"),
    total: of("total"),
  };
}

function scoreRows(runs: readonly SeedRun[], byKey: ReadonlyMap<string, SeenPicture>, thresholds: Thresholds): ScoreRow[] {
  return runs.flatMap(({ seed, scores }) =>
    scores.map(({ key, part, score }) => {
      const { kind, label } = byKey.get(key) as SeenPicture;
      return { file: key, kind, label, split: part, seed, score, outcome: outcomeOf(score, thresholds) };
    }),
  );
}
