/**
 * How a published model's similarities become one score before anything was measured: a start that `kenpin score` replaces.
 * Words count half by the hottest patches and half by the whole picture, as WinCLIP's sum has it (arXiv 2303.14814).
 */
import type { ModelConfig } from "@kenpin/clip";
import type { Preprocess, Scoring, Thresholds } from "@kenpin/schema";

export const START_SCORING: Scoring = {
  topRatio: 0.01,
  imageWeight: 0.5,
  textScale: 1,
  textBias: 0,
  bankWeight: 0.5,
  bankScale: 1,
  bankCut: 3,
  recentreText: true,
  tokenWindow: 1,
  patches: { textScale: 1, textBias: 0, referenceScale: 1, referenceCut: 2 },
};
const THRESHOLDS: Thresholds = { pass: 0.35, cut: 0.5, fail: 0.65, chosenBy: "not calibrated; run kenpin score" };
/** A quarter of a tile's side, so that no defect lies on a seam only. */
const OVERLAP_RATIO = 0.25;
/** Keeps a large frame within seconds. */
const TILE_LIMIT = 64;

export function preprocessOf({ image, preprocess }: ModelConfig): Preprocess {
  return { tilePx: image.size, ...tilingOf(image.size), ...preprocess };
}

/** What a weights' folder calls scoring.json. The memory bank takes tokens of a quarter's and a half's depth: local, not yet global. */
export function startScoringFile({ image }: ModelConfig) {
  const tokenLayers = [...new Set([Math.floor(image.depth / 4), Math.floor(image.depth / 2)])];
  return { scoring: START_SCORING, thresholds: THRESHOLDS, tiling: tilingOf(image.size), tokenLayers };
}

function tilingOf(size: number): Pick<Preprocess, "overlapPx" | "maxTiles"> {
  return { overlapPx: Math.round(size * OVERLAP_RATIO), maxTiles: TILE_LIMIT };
}
