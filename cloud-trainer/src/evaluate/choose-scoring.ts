/**
 * Chooses how a model's similarities become one score, on generated surfaces only: a rule picked after a look at real
 * pictures would flatter itself. Every value comes from the inspector that a device runs.
 *
 * 1. topRatio and imageWeight: the pair whose raw text value ranks bad above good best (AUROC over all episodes)
 * 2. textScale and textBias: logistic regression of the label on that raw value
 * 3. with references: bankScale and bankCut likewise on the bank's deviations, then bankWeight by the smallest mean
 *    cross-entropy of the fused score. The text value is then measured in deviations of the references too: a real camera
 *    is no generator, and what shifts every frame of a site alike must not decide.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fuse, momentsOf, startInspector } from "@kenpin/inspector";
import type { Preprocess, Scoring } from "@kenpin/schema";
import { auroc, logisticLine } from "@kenpin/stats";

type JudgedFrame = { png: Uint8Array; bad: boolean };
export type SurfaceEpisode = { references: Uint8Array[]; frames: JudgedFrame[] };
export type ScoringChoice = { scoring: Scoring; figures: Record<string, number> };

const TOP_RATIOS = [0.002, 0.004, 0.008, 0.016];
const IMAGE_WEIGHTS = [0, 0.25, 0.5];
const BANK_WEIGHTS = [0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9];
const START: Scoring = {
  topRatio: 0.004,
  imageWeight: 0,
  textScale: 1,
  textBias: 0,
  bankWeight: 0.5,
  bankScale: 1,
  bankCut: 3,
  recentreText: false,
};

type Row = { label: 0 | 1; text: number; bankZ: number; textZ: number };

export async function chooseScoring(
  { stagedDir, preprocess }: { stagedDir: string; preprocess: Preprocess },
  episodes: readonly SurfaceEpisode[],
  onProgress: (done: number, of: number) => void,
): Promise<ScoringChoice> {
  const frames = episodes.flatMap((episode) => episode.frames);
  const labels = frames.map(({ bad }) => (bad ? 1 : 0));
  const pairs = TOP_RATIOS.flatMap((topRatio) => IMAGE_WEIGHTS.map((imageWeight) => ({ topRatio, imageWeight })));
  const ranked: { scoring: Scoring; value: number; raw: number[] }[] = [];
  for (const [i, pair] of pairs.entries()) {
    onProgress(i, pairs.length + 1);
    const scoring = { ...START, ...pair };
    const raw = await withInspector({ stagedDir, preprocess, scoring }, (inspector) =>
      eachInTurn(frames, async ({ png }) => (await inspector.inspect(png)).inspection.textLogit),
    );
    ranked.push({ scoring, value: auroc(raw, labels), raw });
  }
  const best = ranked.reduce((a, b) => (b.value > a.value ? b : a));
  const text = logisticLine(best.raw, labels);
  const words = { ...best.scoring, textScale: Math.max(text.slope, 1e-3), textBias: text.intercept };
  onProgress(pairs.length, pairs.length + 1);
  const rows = await rowsWithReferences({ stagedDir, preprocess, scoring: words }, episodes);
  const withBank = chooseBank(words, rows);
  return { scoring: withBank.scoring, figures: { wordsAuroc: best.value, frames: frames.length, ...withBank.figures } };
}

type Place = { stagedDir: string; preprocess: Preprocess; scoring: Scoring };
type Inspector = Awaited<ReturnType<typeof startInspector>>;

async function withInspector<T>({ stagedDir, preprocess, scoring }: Place, work: (inspector: Inspector) => Promise<T>): Promise<T> {
  await writeFile(join(stagedDir, "manifest.json"), JSON.stringify({ precision: "fp32", preprocess, scoring }));
  const inspector = await startInspector({ bundleDir: stagedDir });
  try {
    return await work(inspector);
  } finally {
    await inspector.close();
  }
}

async function rowsWithReferences(place: Place, episodes: readonly SurfaceEpisode[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { references, frames } of episodes) {
    await withInspector(place, async (inspector) => {
      const own = momentsOf(await eachInTurn(references, async (png) => (await inspector.inspect(png)).inspection.textLogit));
      await inspector.teach(references);
      for (const { png, bad } of frames) {
        const { textLogit, bankZ } = (await inspector.inspect(png)).inspection;
        const textZ = (textLogit - own.mean) / Math.max(own.deviation, 1e-6);
        rows.push({ label: bad ? 1 : 0, text: textLogit, bankZ: bankZ as number, textZ });
      }
    });
  }
  return rows;
}

function chooseBank(words: Scoring, rows: readonly Row[]): ScoringChoice {
  const labels = rows.map(({ label }) => label);
  const line = logisticLine(
    rows.map(({ bankZ }) => Math.min(bankZ, LARGEST_Z)),
    labels,
  );
  const bankScale = Math.max(line.slope, 1e-3);
  const base = { ...words, bankScale, bankCut: -line.intercept / bankScale };
  const judged = BANK_WEIGHTS.map((bankWeight) => {
    const scoring = { ...base, bankWeight, recentreText: true };
    const scores = rows.map((row) => fused(row, scoring));
    return { scoring, loss: crossEntropy(scores, labels), value: auroc(scores, labels) };
  });
  const best = judged.reduce((a, b) => (b.loss < a.loss ? b : a));
  const bankAuroc = auroc(
    rows.map(({ bankZ }) => bankZ),
    labels,
  );
  return { scoring: best.scoring, figures: { bankAuroc, fusedAuroc: best.value, fusedCrossEntropy: best.loss } };
}

/** Past this many deviations more is no more certain, and would only bend the line. */
const LARGEST_Z = 20;

function fused({ text, bankZ, textZ }: Row, scoring: Scoring): number {
  // A reference whose deviation is 1 about 0 turns the deviations given here into themselves.
  const unit = { mean: 0, deviation: 1 };
  const value = scoring.recentreText ? textZ : text;
  return fuse(value, { mean: bankZ, top: bankZ }, { text: unit, bankMean: unit, bankTop: unit }, scoring).score;
}

function crossEntropy(scores: readonly number[], labels: readonly number[]): number {
  const clipped = scores.map((score) => Math.min(1 - 1e-6, Math.max(1e-6, score)));
  return clipped.reduce((sum, p, i) => sum - Math.log(labels[i] === 1 ? p : 1 - p), 0) / scores.length;
}

async function eachInTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const out: R[] = [];
  for (const item of items) out.push(await work(item));
  return out;
}
