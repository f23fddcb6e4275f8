/**
 * Chooses how a model's similarities become one score, on generated surfaces only: a rule picked after a look at real
 * pictures would flatter itself. Every value comes from the inspector that a device runs.
 *
 * 1. topRatio and imageWeight: the pair whose raw text value ranks bad above good best (AUROC over all episodes)
 * 2. textScale and textBias: logistic regression of the label on that raw value
 * 3. with references both are measured in deviations of the references, since a real camera is no generator and what
 *    shifts every frame of a site alike must not decide: for each bankWeight, bankScale and bankCut by logistic regression
 *    on those deviations, then the bankWeight with the smallest mean cross-entropy
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startInspector } from "@kenpin/inspector";
import type { Preprocess, Scoring } from "@kenpin/schema";
import { auroc, logisticLine } from "@kenpin/stats";

type JudgedFrame = { png: Uint8Array; bad: boolean };
export type SurfaceEpisode = { references: Uint8Array[]; frames: JudgedFrame[] };
export type ScoringChoice = { scoring: Scoring; figures: Record<string, number> };

const TOP_RATIOS = [0.002, 0.004, 0.008, 0.016];
const IMAGE_WEIGHTS = [0, 0.25, 0.5];
const BANK_WEIGHTS = [0.25, 0.5, 0.75];
export async function chooseScoring(
  { stagedDir, preprocess, scoring: start }: Place,
  episodes: readonly SurfaceEpisode[],
  onProgress: (done: number, of: number) => void,
): Promise<ScoringChoice> {
  const frames = episodes.flatMap((episode) => episode.frames);
  const labels = frames.map(({ bad }) => (bad ? 1 : 0));
  const pairs = TOP_RATIOS.flatMap((topRatio) => IMAGE_WEIGHTS.map((imageWeight) => ({ topRatio, imageWeight })));
  const steps = pairs.length + BANK_WEIGHTS.length;
  const ranked: { scoring: Scoring; value: number; raw: number[] }[] = [];
  for (const [i, pair] of pairs.entries()) {
    onProgress(i, steps);
    const scoring = { ...start, ...pair };
    const raw = await withInspector({ stagedDir, preprocess, scoring }, (inspector) =>
      eachInTurn(frames, async ({ png }) => (await inspector.inspect(png)).inspection.textLogit),
    );
    ranked.push({ scoring, value: auroc(raw, labels), raw });
  }
  const best = ranked.reduce((a, b) => (b.value > a.value ? b : a));
  const text = logisticLine(best.raw, labels);
  const words = { ...best.scoring, textScale: Math.max(text.slope, 1e-3), textBias: text.intercept };
  const withBank: (ScoringChoice & { loss: number })[] = [];
  for (const [i, bankWeight] of BANK_WEIGHTS.entries()) {
    onProgress(pairs.length + i, steps);
    withBank.push(await tryBankWeight({ stagedDir, preprocess, scoring: { ...words, bankWeight, recentreText: true } }, episodes, labels));
  }
  const chosen = withBank.reduce((a, b) => (b.loss < a.loss ? b : a));
  return { scoring: chosen.scoring, figures: { wordsAuroc: best.value, frames: frames.length, ...chosen.figures } };
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

/** Every episode taught and judged with this bankWeight; deviations past `LARGEST_Z` are as certain as that. */
async function tryBankWeight(
  place: Place,
  episodes: readonly SurfaceEpisode[],
  labels: (0 | 1)[],
): Promise<ScoringChoice & { loss: number }> {
  const z: number[] = [];
  for (const { references, frames } of episodes) {
    await withInspector(place, async (inspector) => {
      await inspector.teach(references.map((frame) => ({ frame, label: "good" })));
      for (const { png } of frames) z.push(Math.min((await inspector.inspect(png)).inspection.referenceZ as number, LARGEST_Z));
    });
  }
  const line = logisticLine(z, labels);
  const bankScale = Math.max(line.slope, 1e-3);
  const bankCut = -line.intercept / bankScale;
  const scores = z.map((value) => 1 / (1 + Math.exp(-bankScale * (value - bankCut))));
  const loss = crossEntropy(scores, labels);
  return { scoring: { ...place.scoring, bankScale, bankCut }, loss, figures: { referencesAuroc: auroc(z, labels), crossEntropy: loss } };
}

/** Past this many deviations more is no more certain, and would only bend the line. */
const LARGEST_Z = 20;

function crossEntropy(scores: readonly number[], labels: readonly number[]): number {
  const clipped = scores.map((score) => Math.min(1 - 1e-6, Math.max(1e-6, score)));
  return clipped.reduce((sum, p, i) => sum - Math.log(labels[i] === 1 ? p : 1 - p), 0) / scores.length;
}

async function eachInTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const out: R[] = [];
  for (const item of items) out.push(await work(item));
  return out;
}
