/**
 * Chooses how a model's similarities become one score and one map, on generated surfaces only: a rule picked after a look at
 * real pictures would flatter itself. Every value comes from the functions and models that a device runs.
 *
 * 1. topRatio and imageWeight: the pair whose raw text value ranks frames with a defect above good ones best (AUROC)
 * 2. textScale and textBias: logistic regression of the label on that raw value
 * 3. with references both are measured in deviations of the references, since a real camera is no generator and what shifts
 *    every frame of a site alike must not decide: for each tokenWindow and bankWeight, bankScale and bankCut by logistic
 *    regression on those deviations, then the pair with the smallest mean cross-entropy
 * 4. patches: the same regressions patch by patch, on masks
 *
 * Steps 1 and 2 leave out frames of a changed material, of which words know nothing.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeImage, tileFrame } from "@kenpin/clip";
import {
  fuse,
  keepTokens,
  type ModelRunner,
  meanOfTop,
  patchHeat,
  promptDirections,
  rawText,
  referenceStats,
  startModel,
  summaryOf,
  teachBank,
  windowMeans,
  wordLogits,
} from "@kenpin/inspector";
import { parseAtDoor, type Preprocess, PromptSet, type Scoring } from "@kenpin/schema";
import { auroc, logisticLine } from "@kenpin/stats";
import { patchLabels } from "./patch-labels.ts";

/** `mask` [side²] is the share of defect at each pixel; null where the whole frame is another material than it should be. */
type JudgedFrame = { png: Uint8Array; bad: boolean; mask: Float32Array | null };
export type SurfaceEpisode = { references: Uint8Array[]; frames: JudgedFrame[] };
export type ScoringChoice = { scoring: Scoring; figures: Record<string, number> };

const TOP_RATIOS = [0.002, 0.004, 0.008, 0.016];
/** Not 0: retraining on labelled frames must be able to teach what shows in the whole picture only. */
const IMAGE_WEIGHTS = [0.25, 0.5];
const BANK_WEIGHTS = [0.25, 0.5, 0.75];
const TOKEN_WINDOWS = [1, 3] as const;
/** Past this many deviations more is no more certain, and would only bend the line. */
const LARGEST_Z = 20;
/** Neighbours say the same: of a frame's patches one in so many is asked. */
const PATCH_STRIDE = 5;

type Place = { stagedDir: string; preprocess: Preprocess; scoring: Scoring };
type Label = 0 | 1;
type WordValues = { patches: Float32Array; images: Float32Array };
/** A frame as the tower sees it; `far` are its patches' distances to the bank, for each token window. */
type Measured = WordValues & { far: Float32Array[]; label: Label; patchLabels: Label[] | null };
type MeasuredEpisode = { references: (WordValues & { far: Float32Array[] })[]; frames: Measured[] };

export async function chooseScoring(
  place: Place,
  episodes: readonly SurfaceEpisode[],
  onProgress: (done: number, of: number) => void,
): Promise<ScoringChoice> {
  const [vision, nearest] = [startIn(place, "vision.onnx"), startIn(place, "nearest.onnx")];
  try {
    const tower = await openTower(place, { vision, nearest });
    const measured: MeasuredEpisode[] = [];
    for (const [i, episode] of episodes.entries()) {
      onProgress(i, episodes.length);
      measured.push(await measureEpisode(tower, episode));
    }
    onProgress(episodes.length, episodes.length);
    return choose(place.scoring, measured);
  } finally {
    await Promise.all([vision.close(), nearest.close()]);
  }
}

function choose(start: Scoring, episodes: readonly MeasuredEpisode[]): ScoringChoice {
  const words = chooseWords(start, episodes);
  const tried = TOKEN_WINDOWS.flatMap((tokenWindow, at) =>
    BANK_WEIGHTS.map((bankWeight) => tryReferences({ ...words.scoring, tokenWindow, bankWeight, recentreText: true }, episodes, at)),
  );
  const best = tried.reduce((a, b) => (b.loss < a.loss ? b : a));
  const patches = choosePatches(best.scoring, episodes, best.at);
  const frames = episodes.reduce((sum, episode) => sum + episode.frames.length, 0);
  return {
    scoring: { ...best.scoring, patches: patches.patches },
    figures: {
      frames,
      wordsAuroc: words.auroc,
      referencesAuroc: best.auroc,
      crossEntropy: best.loss,
      patchesWordsAuroc: patches.wordsAuroc,
      patchesAuroc: patches.auroc,
    },
  };
}

function chooseWords(start: Scoring, episodes: readonly MeasuredEpisode[]): { scoring: Scoring; auroc: number } {
  const frames = episodes.flatMap((episode) => (episode.frames.some(({ patchLabels }) => patchLabels === null) ? [] : episode.frames));
  const labels = frames.map(({ label }) => label);
  const tried = TOP_RATIOS.flatMap((topRatio) =>
    IMAGE_WEIGHTS.map((imageWeight) => {
      const scoring = { ...start, topRatio, imageWeight };
      const raw = frames.map(({ patches, images }) => rawText(patches, images, scoring));
      return { scoring, raw, auroc: auroc(raw, labels) };
    }),
  );
  const { scoring, raw, auroc: value } = tried.reduce((a, b) => (b.auroc > a.auroc ? b : a));
  const { slope, intercept } = logisticLine(raw, labels);
  return { scoring: { ...scoring, textScale: Math.max(slope, 1e-3), textBias: intercept }, auroc: value };
}

/** `at` is the place of the token window among those measured. */
function tryReferences(scoring: Scoring, episodes: readonly MeasuredEpisode[], at: number) {
  const labels = episodes.flatMap(({ frames }) => frames.map(({ label }) => label));
  const z = episodes.flatMap((episode) => {
    const references = statsOf(episode, scoring, at);
    return episode.frames.map(({ patches, images, far }) => {
      const bank = summaryOf(far[at] as Float32Array, scoring.topRatio);
      return Math.min(fuse(rawText(patches, images, scoring), bank, references, scoring).referenceZ as number, LARGEST_Z);
    });
  });
  const { slope, intercept } = logisticLine(z, labels);
  const bankScale = Math.max(slope, 1e-3);
  const bankCut = -intercept / bankScale;
  const loss = crossEntropy(
    z.map((value) => 1 / (1 + Math.exp(-bankScale * (value - bankCut)))),
    labels,
  );
  return { scoring: { ...scoring, bankScale, bankCut }, at, loss, auroc: auroc(z, labels) };
}

function choosePatches(scoring: Scoring, episodes: readonly MeasuredEpisode[], at: number) {
  const plain = { ...scoring, patches: { textScale: 1, textBias: 0, referenceScale: 1, referenceCut: 0 } };
  const [words, fused, labels]: [number[], number[], Label[]] = [[], [], []];
  for (const episode of episodes) {
    const references = statsOf(episode, scoring, at);
    for (const { patches, far, patchLabels } of episode.frames) {
      if (!patchLabels) continue;
      const heat = patchHeat(patches, far[at] as Float32Array, references, plain);
      for (let i = 0; i < heat.length; i += PATCH_STRIDE) {
        words.push(patches[i] as number);
        fused.push(Math.min(heat[i] as number, LARGEST_Z));
        labels.push(patchLabels[i] as Label);
      }
    }
  }
  const [byWords, byBoth] = [logisticLine(words, labels), logisticLine(fused, labels)];
  const [textScale, referenceScale] = [Math.max(byWords.slope, 1e-3), Math.max(byBoth.slope, 1e-3)];
  const patches = { textScale, textBias: byWords.intercept, referenceScale, referenceCut: -byBoth.intercept / referenceScale };
  return { patches, wordsAuroc: auroc(words, labels), auroc: auroc(fused, labels) };
}

function statsOf({ references }: MeasuredEpisode, scoring: Scoring, at: number) {
  const values = references.map(({ patches, images, far }) => ({
    text: rawText(patches, images, scoring),
    patchTop: meanOfTop(patches, scoring.topRatio),
    bank: summaryOf(far[at] as Float32Array, scoring.topRatio),
  }));
  return referenceStats(values, scoring);
}

type Tower = Awaited<ReturnType<typeof openTower>>;

function startIn({ stagedDir }: Place, file: string): ModelRunner {
  return startModel({ model: join(stagedDir, file) });
}

async function openTower({ stagedDir, preprocess }: Place, models: { vision: ModelRunner; nearest: ModelRunner }) {
  const prompts = parseAtDoor(PromptSet, JSON.parse(await readFile(join(stagedDir, "prompts.json"), "utf8")), "prompts.json");
  const directions = promptDirections(prompts);
  const side = preprocess.tilePx;
  const see = async (png: Uint8Array) => {
    const tiles = await tileFrame(await decodeImage(png), preprocess);
    const { tensors } = await models.vision.run({ pixel_values: { data: tiles.pixelValues, dims: [tiles.count, 3, side, side] } });
    const patches = wordLogits(tensors["patch_embeds"] as Float32Array, directions);
    const images = wordLogits(tensors["image_embeds"] as Float32Array, directions);
    const tokens = tensors["patch_tokens"] as Float32Array;
    const dim = tokens.length / patches.length;
    const grid = Math.sqrt(patches.length / tiles.count);
    const windows = TOKEN_WINDOWS.map((window) => windowMeans(tokens, dim, { grid, window }));
    return { tiles, patches, images, windows, dim };
  };
  const nearest = async (tokens: Float32Array, bank: Float32Array, dim: number) => {
    const { tensors } = await models.nearest.run({
      tokens: { data: tokens, dims: [tokens.length / dim, dim] },
      bank: { data: bank, dims: [bank.length / dim, dim] },
    });
    return tensors["distance"] as Float32Array;
  };
  return { see, nearest, side };
}

async function measureEpisode({ see, nearest, side }: Tower, { references, frames }: SurfaceEpisode): Promise<MeasuredEpisode> {
  const shown: (WordValues & { kept: Int8Array[]; dim: number })[] = [];
  for (const png of references) {
    const { patches, images, windows, dim } = await see(png);
    shown.push({ patches, images, dim, kept: windows.map((tokens) => keepTokens(tokens, dim)) });
  }
  const dim = shown[0]?.dim as number;
  const near = (tokens: Float32Array, bank: Float32Array) => nearest(tokens, bank, dim);
  const taught: Awaited<ReturnType<typeof teachBank>>[] = [];
  for (const at of TOKEN_WINDOWS.keys()) {
    const kept = shown.map(({ kept }) => ({ tokens: kept[at] as Int8Array, isGood: true }));
    taught.push(await teachBank(kept, { dim, nearest: near }));
  }
  const measured: Measured[] = [];
  for (const { png, bad, mask } of frames) {
    const { tiles, patches, images, windows } = await see(png);
    const far: Float32Array[] = [];
    for (const [at, { bank }] of taught.entries()) far.push(await near(windows[at] as Float32Array, bank));
    measured.push({ patches, images, far, label: bad ? 1 : 0, patchLabels: mask && patchLabels(mask, tiles, side, patches.length) });
  }
  const outside = (i: number) => taught.map(({ outside }) => outside[i] as Float32Array);
  return { references: shown.map(({ patches, images }, i) => ({ patches, images, far: outside(i) })), frames: measured };
}

function crossEntropy(scores: readonly number[], labels: readonly Label[]): number {
  const clipped = scores.map((score) => Math.min(1 - 1e-6, Math.max(1e-6, score)));
  return clipped.reduce((sum, p, i) => sum - Math.log(labels[i] === 1 ? p : 1 - p), 0) / scores.length;
}
