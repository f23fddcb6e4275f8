/**
 * WinCLIP's windows and how their scores become a map (Jeong et al. 2023, arXiv 2303.14814), a reference to compare with.
 * In: probabilities in (0, 1] that a window, or the whole picture, is defective: softmax over the good and the bad direction.
 * Out: a map with one value a patch. A patch takes the harmonic mean of the windows that cover it, then of the scales, the whole
 * picture being one of them: what any of them calls good stays low. Pure.
 */
import { sigmoid } from "./score.ts";

/** Patches along a window's side: the published small and middle scales. */
export const WINDOW_SIDES = [2, 3] as const;

/** The patches, from 0 and row by row, of every window of `side` × `side` patches in a square grid, moved by one patch. */
export function windowsOf(grid: number, side: number): number[][] {
  const places = Math.max(0, grid - side + 1);
  return Array.from({ length: places * places }, (_, at) => {
    const first = Math.floor(at / places) * grid + (at % places);
    return Array.from({ length: side * side }, (_, i) => first + Math.floor(i / side) * grid + (i % side));
  });
}

/** Of each logit (bad less good, times the logit scale) the share of the bad words. */
export function badShares(logits: Float32Array): Float64Array {
  return Float64Array.from(logits, sigmoid);
}

/** Of each patch, the harmonic mean of the windows that cover it; every patch must lie in one. */
export function harmonicMap(scores: Float64Array, windows: readonly number[][], patches: number): Float64Array {
  const inverse = new Float64Array(patches);
  const covering = new Float64Array(patches);
  for (const [i, window] of windows.entries()) {
    for (const patch of window) {
      inverse[patch] = (inverse[patch] as number) + 1 / (scores[i] as number);
      covering[patch] = (covering[patch] as number) + 1;
    }
  }
  return inverse.map((sum, patch) => (covering[patch] as number) / sum);
}

/** The harmonic mean of the scales' maps and the picture's own score. */
export function acrossScales(maps: readonly Float64Array[], classScore: number): Float64Array {
  const [first] = maps as [Float64Array];
  return first.map((_, patch) => (maps.length + 1) / maps.reduce((sum, map) => sum + 1 / (map[patch] as number), 1 / classScore));
}

/** A picture's score: the mean of its class token's score and the map's highest value. */
export function pictureScore(classScore: number, map: Float64Array): number {
  return (classScore + map.reduce((most, value) => Math.max(most, value), 0)) / 2;
}
