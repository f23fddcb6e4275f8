/**
 * Inspects one frame: decode → tiles → image tower → words and memory bank → score, map, regions.
 * Runs inside the worker. In: image bytes. Out: an Inspection, and the heat map when asked for.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeImage, type RgbImage, type Tiles, tileFrame } from "@kenpin/clip";
import { BundleManifest, parseAtDoor, PromptSet, type Region } from "@kenpin/schema";
import { regionsOf, stitch } from "./anomaly-map.ts";
import { type FrameStats, frameStats } from "./frame-stats.ts";
import { drawHeatMap } from "./heat-map.ts";
import { coreset } from "./memory-bank.ts";
import {
  awayFromReferences,
  closestPrompt,
  type BankDistance,
  fuse,
  meanOf,
  meanOfTop,
  momentsOf,
  promptDirections,
  rawText,
  type ReferenceStats,
  wordLogits,
} from "./score.ts";
import { openModel, PROVIDER } from "./session.ts";

export type Inspection = {
  width: number;
  height: number;
  score: number;
  textLogit: number;
  bankZ: number | null;
  /** Deviations from the good references by which the score was made; null while words alone decide. */
  referenceZ: number | null;
  prompt: string;
  regions: Region[];
  stats: FrameStats;
  ms: { decode: number; preprocess: number; infer: number; map: number };
};

type Seen = {
  image: RgbImage;
  tiles: Tiles;
  patchLogits: Float32Array;
  patchEmbeds: Float32Array;
  tokens: Float32Array | null;
  text: number;
  ms: Inspection["ms"];
};

/** What of the manifest decides; whoever unpacked the bundle has proven the rest. */
const Manifest = BundleManifest.pick({ precision: true, preprocess: true, scoring: true }).strip();

export async function openInspection(bundleDir: string, threads?: number) {
  const manifest = parseAtDoor(Manifest, await readJson(join(bundleDir, "manifest.json")), "manifest.json");
  const prompts = parseAtDoor(PromptSet, await readJson(join(bundleDir, "prompts.json")), "prompts.json");
  const vision = await openModel(join(bundleDir, "vision.onnx"), "vision.onnx", threads); // by path: its weights may lie beside it
  const nearest = await openModel(await readFile(join(bundleDir, "nearest.onnx")), "nearest.onnx", threads);
  const directions = promptDirections(prompts);
  const { preprocess, scoring } = manifest;
  let bank: Float32Array | null = null;
  let tokenDim = 0;
  let references: ReferenceStats | null = null;

  const see = async (bytes: Uint8Array): Promise<Seen> => {
    const clock = stopwatch();
    const image = await decodeImage(bytes);
    const decode = clock();
    const tiles = await tileFrame(image, preprocess);
    const prepare = clock();
    const side = preprocess.tilePx;
    const out = await vision.run({ pixel_values: { data: tiles.pixelValues, dims: [tiles.count, 3, side, side] } });
    const patchEmbeds = out["patch_embeds"] as Float32Array;
    const patchLogits = wordLogits(patchEmbeds, directions);
    const text = rawText(patchLogits, wordLogits(out["image_embeds"] as Float32Array, directions), scoring);
    const tokens = out["patch_tokens"] ?? null;
    if (tokens) tokenDim = tokens.length / patchLogits.length;
    return { image, tiles, patchLogits, patchEmbeds, tokens, text, ms: { decode, preprocess: prepare, infer: clock(), map: 0 } };
  };

  const distances = async (tokens: Float32Array, against: Float32Array): Promise<Float32Array> => {
    const out = await nearest.run({
      tokens: { data: tokens, dims: [tokens.length / tokenDim, tokenDim] },
      bank: { data: against, dims: [against.length / tokenDim, tokenDim] },
    });
    return out["distance"] as Float32Array;
  };

  /** Replaces the bank: the references' own statistics come from folds whose frames the fold's bank has not seen. */
  const teach = async (frames: Uint8Array[]): Promise<number> => {
    const kept: { tokens: Float32Array; text: number }[] = [];
    for (const frame of frames) {
      const { tokens, text } = await see(frame);
      if (tokens) kept.push({ tokens, text }); // the pixels may go: hundreds of frames would not fit
    }
    if (kept.length < 2) {
      bank = null;
      references = null;
      return 0;
    }
    const folds = Math.min(5, kept.length);
    const outside = new Array<BankDistance>(kept.length);
    for (let fold = 0; fold < folds; fold++) {
      const others = coreset(joinTokens(kept.filter((_, i) => i % folds !== fold)), tokenDim);
      for (const [i, one] of kept.entries())
        if (i % folds === fold) outside[i] = summary(await distances(one.tokens, others), scoring.topRatio);
    }
    bank = coreset(joinTokens(kept), tokenDim);
    const parts = {
      text: momentsOf(kept.map(({ text }) => text)),
      bankMean: momentsOf(outside.map(({ mean }) => mean)),
      bankTop: momentsOf(outside.map(({ top }) => top)),
    };
    const away = kept.map(({ text }, i) => awayFromReferences(text, outside[i] as BankDistance, parts, scoring));
    references = { ...parts, away: momentsOf(away) };
    return kept.length;
  };

  const inspect = async (bytes: Uint8Array, withMap: boolean): Promise<{ inspection: Inspection; map: Uint8Array }> => {
    const seen = await see(bytes);
    const clock = stopwatch();
    const far = bank && seen.tokens ? await distances(seen.tokens, bank) : null;
    const { score, bankZ, referenceZ } = fuse(seen.text, far && summary(far, scoring.topRatio), references, scoring);
    seen.ms.infer += clock();
    const heat = seen.patchLogits.map((value) => scoring.textScale * value + scoring.textBias);
    const map = stitch(heat, seen.tiles, preprocess.tilePx);
    const { width, height } = seen.image;
    const inspection: Inspection = {
      width,
      height,
      score,
      textLogit: seen.text,
      bankZ,
      referenceZ,
      prompt: closestPrompt(prompts, hottest(seen)),
      regions: regionsOf(map, 0, seen.tiles.scale),
      stats: frameStats(seen.image),
      ms: seen.ms,
    };
    const png = withMap ? await drawHeatMap(map, { width, height, low: -1, high: 4 }) : new Uint8Array();
    seen.ms.map = clock();
    return { inspection, map: png };
  };

  return { provider: PROVIDER, precision: manifest.precision, teach, inspect };
}

/** Embedding of the patch that looks worst. */
function hottest({ patchLogits, patchEmbeds }: Seen): Float32Array {
  const at = patchLogits.reduce((best, value, i) => (value > (patchLogits[best] as number) ? i : best), 0);
  const dim = patchEmbeds.length / patchLogits.length;
  return patchEmbeds.subarray(at * dim, (at + 1) * dim);
}

function summary(distances: Float32Array, topRatio: number): BankDistance {
  return { mean: meanOf(distances), top: meanOfTop(distances, topRatio) };
}

function joinTokens(seen: { tokens: Float32Array }[]): Float32Array {
  const out = new Float32Array(seen.reduce((sum, { tokens }) => sum + tokens.length, 0));
  let at = 0;
  for (const { tokens } of seen) {
    out.set(tokens, at);
    at += tokens.length;
  }
  return out;
}

/** Milliseconds since it was last asked. */
function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const passed = now - last;
    last = now;
    return Math.max(0, passed);
  };
}

async function readJson(file: string): Promise<unknown> {
  return JSON.parse(await readFile(file, "utf8"));
}
