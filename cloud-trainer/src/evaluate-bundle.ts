/**
 * An evaluation from end to end: bundle and pictures are opened, looked over, judged over all seeds, and put into the contract's form.
 * Stages know nothing of one another; this file joins them. In: paths and a plan. Out: the Evaluation, and every score.
 */
import { availableParallelism, cpus } from "node:os";
import { type Evaluation, Evaluation as Contract, EVALUATION_FORMAT, KenpinError, type PartWords } from "@kenpin/schema";
import { type BundleJudge, openJudge } from "./evaluate/bundle-judge.ts";
import { evaluate } from "./evaluate/evaluate.ts";
import type { ScoreRow } from "./evaluate/evaluation-figures.ts";
import { type EvaluatedPicture, seePictures } from "./evaluate/evaluated-picture.ts";
import type { JudgeFor, Plan } from "./evaluate/seed-run.ts";
import { readSliceTable } from "./evaluate/slice-table.ts";
import { keepSeeds } from "./kept-seeds.ts";
import { type OpenedBundle, openBundle } from "./opened-bundle.ts";
import { openRandomJudge, retrainedJudge } from "./other-judges.ts";
import { findingsOf } from "./samples/findings.ts";
import { openPictureSet, type PictureSet } from "./samples/picture-set.ts";

export type EvaluationJob = {
  bundle: string;
  data: string;
  plan: Plan;
  /** For a folder of weights. */
  words: PartWords;
  precision: "fp32" | "int8";
  rootKey?: string | undefined;
  slices?: string | undefined;
  /** The column of a table that must not be split, and a slice of its own. */
  by?: string | undefined;
  /** All pictures were drawn at random with this chance. */
  drawnAtRandom?: number | undefined;
  controls: boolean;
  /** Seconds of training for each seed; null leaves the model as it is. */
  retrainSeconds: number | null;
  keep?: string | undefined;
  language: "en" | "ja";
  now: Date;
  onProgress: (what: string, done: number, of: number | null) => void;
  onNote: (line: string) => void;
};

export async function evaluateBundle(job: EvaluationJob): Promise<{ evaluation: Evaluation; scores: ScoreRow[] }> {
  const started = performance.now();
  const set = await openPictureSet(job.data, {
    by: job.by,
    drawProbability: job.drawnAtRandom,
    onProgress: (done, of) => job.onProgress("read", done, of),
  });
  const { pictures, unlabelled } = labelled(set);
  const bundle = await openBundle(job.bundle, { ...job, onProgress: job.onNote });
  const closing = [bundle.close];
  try {
    for (const warning of bundle.warnings) job.onNote(`warning: ${warning}`);
    const { seen, leftOut } = await seePictures(pictures, (done, of) => job.onProgress("looked at", done, of));
    for (const { picture, why } of leftOut.slice(0, 10)) job.onNote(`warning: ${picture} is left out: ${why}`);
    const readable = new Set(seen.map(({ key }) => key));
    const columns = await columnsOf(job, set, readable);
    const random = job.controls ? await openRandomJudge(bundle, { words: job.words, seed: 1 }) : null;
    if (random) closing.unshift(random.close);
    const shared =
      job.retrainSeconds === null
        ? await openJudge(bundle.dir, { keepSights: job.plan.seeds.length > 1 || seen.some(({ mask }) => mask !== null) })
        : null;
    if (shared) closing.unshift(shared.close);
    const { figures, used, scores } = await evaluate({
      pictures: seen,
      plan: job.plan,
      thresholds: bundle.thresholds,
      judgeFor: shared
        ? ofOne(shared)
        : retrainedJudge(bundle, { words: job.words, seconds: job.retrainSeconds as number, onNote: job.onNote }),
      random,
      columns,
      kept: keepSeeds(job.keep, comparable(job, bundle, set)),
      onProgress: job.onProgress,
    });
    const findings = await findingsOf(set, { language: job.language, onProgress: (done, of) => job.onProgress("checked", done, of) });
    const { provider, precision } = shared ?? { provider: "cpu", precision: bundle.precision };
    const evaluation = Contract.parse({
      format: EVALUATION_FORMAT,
      createdAt: job.now.toISOString(),
      bundle: { name: bundle.name, sha256: bundle.sha256, kind: bundle.kind, ...bundle.words },
      model: { parameters: bundle.parameters, precision, provider },
      data: dataOf(set, seen, [...unlabelled, ...leftOut]),
      protocol: protocolOf(job, bundle, used),
      ...figures,
      findings: findings.slice(0, 100),
      seconds: (performance.now() - started) / 1000,
      machine: { processor: cpus()[0]?.model.trim() ?? "unknown", cores: availableParallelism() },
    });
    return { evaluation, scores };
  } finally {
    for (const close of closing) await close();
  }
}

/** Pictures that nobody has labelled judge nothing. */
function labelled({ name, pictures }: PictureSet): { pictures: EvaluatedPicture[]; unlabelled: Evaluation["data"]["leftOut"] } {
  const known = pictures.flatMap(({ label, defect, ...picture }) =>
    label === null ? [] : [{ ...picture, label, kind: label === "good" ? "good" : (defect ?? "defective") }],
  );
  const count = (label: "good" | "bad") => known.filter((picture) => picture.label === label).length;
  if (count("good") === 0 || count("bad") === 0) {
    throw new KenpinError(
      "one-class-only",
      `${name} has ${count("good")} good and ${count("bad")} defective pictures; both are needed: put good ones into good/ and each kind of defect into a folder of its own`,
    );
  }
  const unlabelled = pictures.filter(({ label }) => label === null).map(({ key }) => ({ picture: key, why: "it has no label" }));
  return { pictures: known, unlabelled };
}

async function columnsOf({ slices, by }: EvaluationJob, { pictures }: PictureSet, readable: ReadonlySet<string>) {
  const table = slices === undefined ? new Map<string, Record<string, string>>() : await readSliceTable(slices, readable);
  for (const { key, group } of pictures) if (group !== null) table.set(key, { [by ?? "group"]: group, ...table.get(key) });
  return table;
}

function ofOne(judge: BundleJudge): JudgeFor {
  return async () => ({ ...judge, close: async () => {} });
}

/** What must be the same for a seed judged before to count. */
function comparable(
  { plan: { seeds: _, ...plan }, controls, retrainSeconds }: EvaluationJob,
  { decides }: OpenedBundle,
  { digest }: PictureSet,
) {
  return { plan, controls, retrainSeconds, decides, digest };
}

function dataOf(
  { name, digest }: PictureSet,
  seen: readonly EvaluatedPicture[],
  leftOut: Evaluation["data"]["leftOut"],
): Evaluation["data"] {
  const kinds: Record<string, number> = {};
  for (const { label, kind } of seen) if (label === "bad") kinds[kind] = (kinds[kind] ?? 0) + 1;
  const good = seen.filter(({ label }) => label === "good").length;
  return { name, sha256: digest, good, defective: seen.length - good, kinds, leftOut: leftOut.slice(0, 1000) };
}

function protocolOf(
  { plan: { name, references, exemplars, calibration, test, seeds, alpha }, retrainSeconds }: EvaluationJob,
  { thresholds, kind, precision }: OpenedBundle,
  used: Evaluation["protocol"]["used"],
): Evaluation["protocol"] {
  const notes: Evaluation["protocol"]["notes"] = [];
  const fewer = (what: { en: string; ja: string }, asked: number | null, got: number) => {
    if (asked === null || got >= asked - (asked % 2)) return;
    notes.push({
      en: `${got} pictures for ${what.en}, not ${asked}: the set holds no more of both labels`,
      ja: `${what.ja}は${asked}枚ではなく${got}枚です(良品と不良品の両方がこれ以上ありません)`,
    });
  };
  fewer({ en: "calibration", ja: "較正用の画像" }, calibration, used.calibration);
  fewer({ en: "the test", ja: "試験用の画像" }, test, used.test);
  if (kind === "weights" && precision === "int8") {
    notes.push({
      en: "the weights were brought to 8 bits for this evaluation, with ranges from generated pictures",
      ja: "この評価のために重みを8ビット化しました(範囲は生成画像から決定)",
    });
  }
  if (retrainSeconds !== null) {
    notes.push({
      en: `for each seed the model was trained again on the exemplars, ${retrainSeconds} s`,
      ja: `シードごとに見本で${retrainSeconds}秒再学習しました`,
    });
  }
  return {
    name,
    asked: { references, exemplars, calibration, test },
    used,
    seeds,
    retrained: retrainSeconds !== null,
    cut: thresholds.cut,
    coverageBy: used.calibration > 0 ? "calibration-split" : "leave-one-out",
    alpha,
    notes,
  };
}
