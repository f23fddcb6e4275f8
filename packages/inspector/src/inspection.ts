/**
 * Inspects one frame: decode → tiles → image tower → words, memory bank and head → score, map, regions.
 * Runs inside the worker. In: image bytes. Out: an Inspection, and the heat map when asked for.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeWithin, type ImageSize, type Tiles, tiledSize, tileFrame } from "@kenpin/clip";
import { BundleManifest, KenpinError, parseAtDoor, PromptSet, type Region } from "@kenpin/schema";
import { type AnomalyMap, regionsOf, stitch } from "./anomaly-map.ts";
import { decodeBank, encodeBank } from "./bank-file.ts";
import { logitWithHead, statisticsOf } from "./exemplar-head.ts";
import { type FrameStats, frameStats } from "./frame-stats.ts";
import { drawHeatMap } from "./heat-map.ts";
import { keepTokens } from "./memory-bank.ts";
import { closestPrompt, fuse, meanOfTop, patchHeat, promptDirections, rawText, sigmoid, summaryOf, wordLogits } from "./score.ts";
import type { Opening, Progress } from "./protocol.ts";
import { openModel, type Runtime } from "./runtime.ts";
import { keepSights } from "./sight-store.ts";
import { strangeness } from "./strangeness.ts";
import { EXEMPLAR_LIMIT, type Knowledge, type Lesson, type Shown, type Taught, teachFrom, UNTAUGHT } from "./teaching.ts";
import { runTiles, towerShapes } from "./tile-batches.ts";
import { windowMeans } from "./token-window.ts";

export type Inspection = {
  width: number;
  height: number;
  score: number;
  textLogit: number;
  bankZ: number | null;
  /** Deviations from the good references by which the score was made; null while words alone decide. */
  referenceZ: number | null;
  /** From 1 on the frame shows something else than was taught, all over; null without a memory bank. See strangeness.ts. */
  strangeness: number | null;
  prompt: string;
  regions: Region[];
  stats: FrameStats;
  ms: { decode: number; preprocess: number; infer: number; map: number };
};

type Seen = {
  /** The frame's own, where the image was shrunk to be tiled. */
  size: ImageSize;
  tiles: Omit<Tiles, "pixelValues">;
  stats: FrameStats;
  patchLogits: Float32Array;
  patchEmbeds: Float32Array;
  imageEmbeds: Float32Array;
  tokens: Float32Array | null;
  text: number;
  ms: Inspection["ms"];
};

/** What of the manifest decides; whoever unpacked the bundle has proven the rest. */
const Manifest = BundleManifest.pick({ precision: true, preprocess: true, scoring: true }).strip();
/** On the map, in logits: drawn clear and full red. */
const HEAT = { low: -1, high: 4 };
/** A patch this likely to be defective belongs to a region: even odds. */
const REGION_LEVEL = 0;

export type InspectionOptions = {
  runtime: Runtime;
  opening: Opening;
  /** Tiles at once; all of a frame's where left out. */
  batch?: number | undefined;
  /** An empty folder of the caller's in which what the tower saw of each frame is kept, for a frame that comes again. */
  sightsDir?: string | undefined;
  onStep?: (progress: Progress) => void;
};

export async function openInspection(bundleDir: string, { runtime, opening, batch, sightsDir, onStep }: InspectionOptions) {
  const files = { manifest: await readFile(join(bundleDir, "manifest.json")), prompts: await readFile(join(bundleDir, "prompts.json")) };
  const manifest = parseAtDoor(Manifest, JSON.parse(files.manifest.toString("utf8")), "manifest.json");
  const prompts = parseAtDoor(PromptSet, JSON.parse(files.prompts.toString("utf8")), "prompts.json");
  const directions = promptDirections(prompts);
  const { preprocess, scoring } = manifest;
  const { tilePx: side, maxTiles } = preprocess;
  const vision = await openModel(runtime, {
    file: join(bundleDir, "vision.onnx"), // by path: its weights may lie beside it
    what: "vision.onnx",
    opening,
    shapes: towerShapes(side, maxTiles),
    firstRun: { pixel_values: { data: new Float32Array(3 * side * side), dims: [1, 3, side, side] } },
    onStep,
  });
  // Its shapes change with every frame, which an engine built for shapes would not bear.
  const providers = [vision.provider === "tensorrt" ? ("cuda" as const) : vision.provider, "cpu" as const];
  const nearest = await openModel(runtime, {
    file: await readFile(join(bundleDir, "nearest.onnx")),
    what: "nearest.onnx",
    opening: { ...opening, providers, engineDir: undefined },
  });
  /** What was taught is worth nothing to another model, or by other words. */
  const bankKey = createHash("sha256").update(files.manifest).update(files.prompts).digest("hex");
  let shown = new Map<string, Shown>();
  let knowledge: Knowledge | null = null;
  let tokenDim = 0;
  let pixelValues: Float32Array | undefined;

  const look = async (bytes: Uint8Array): Promise<Seen> => {
    const clock = stopwatch();
    const { image, size } = await decodeWithin(bytes, (own) => tiledSize(own, preprocess));
    const decode = clock();
    const tiles = await tileFrame(image, preprocess, { own: size, reuse: pixelValues });
    pixelValues = tiles.pixelValues;
    const prepare = clock();
    const out = await runTiles(vision, tiles, { side, batch });
    const [patchEmbeds, imageEmbeds] = [out["patch_embeds"] as Float32Array, out["image_embeds"] as Float32Array];
    const patchLogits = wordLogits(patchEmbeds, directions);
    const text = rawText(patchLogits, wordLogits(imageEmbeds, directions), scoring);
    const tokens = out["patch_tokens"] ?? null;
    const ms = { decode, preprocess: prepare, infer: clock(), map: 0 };
    const stats = frameStats(image);
    ms.map = clock();
    const { pixelValues: _, ...where } = tiles;
    return { size, tiles: where, stats, patchLogits, patchEmbeds, imageEmbeds, tokens, text, ms };
  };
  const lookOnce = sightsDir === undefined ? look : keepSights(sightsDir, look);
  const see = async (bytes: Uint8Array): Promise<Seen> => {
    const seen = await lookOnce(bytes);
    if (seen.tokens) tokenDim = seen.tokens.length / seen.patchLogits.length;
    return seen;
  };

  const distances = async (tokens: Float32Array, against: Float32Array): Promise<Float32Array> => {
    const out = await nearest.run({
      tokens: { data: tokens, dims: [tokens.length / tokenDim, tokenDim] },
      bank: { data: against, dims: [against.length / tokenDim, tokenDim] },
    });
    return out["distance"] as Float32Array;
  };

  const windowed = (tokens: Float32Array, { count }: Seen["tiles"]) =>
    windowMeans(tokens, tokenDim, { grid: Math.sqrt(tokens.length / tokenDim / count), window: scoring.tokenWindow });

  const statistics = ({ tokens, patchEmbeds, imageEmbeds, patchLogits, tiles }: Seen) =>
    statisticsOf([
      { data: tokens as Float32Array, dim: tokenDim, spread: true },
      { data: patchEmbeds, dim: patchEmbeds.length / patchLogits.length, spread: true },
      { data: imageEmbeds, dim: imageEmbeds.length / tiles.count, spread: false },
    ]);

  /** Looks at an exemplar and keeps what a teaching needs of it; answers its name. */
  const show = async (bytes: Uint8Array): Promise<string> => {
    const digest = createHash("sha256").update(bytes).digest("hex");
    if (shown.has(digest)) return digest;
    if (shown.size >= 2 * EXEMPLAR_LIMIT) shown = new Map([...shown].slice(-EXEMPLAR_LIMIT));
    const seen = await see(bytes);
    if (!seen.tokens) return digest; // a tower without tokens has words alone
    shown.set(digest, {
      text: seen.text,
      patchTop: meanOfTop(seen.patchLogits, scoring.topRatio),
      tokens: keepTokens(windowed(seen.tokens, seen.tiles), tokenDim),
      statistics: statistics(seen),
    });
    return digest;
  };

  /** Replaces what was taught before, and forgets every exemplar but these. */
  const teach = async (lessons: Lesson[]): Promise<Taught> => {
    if (lessons.length > EXEMPLAR_LIMIT) {
      throw new KenpinError("too-many-exemplars", `${lessons.length} exemplars were given, ${EXEMPLAR_LIMIT} are the most; leave some out`);
    }
    const known = lessons.filter(({ digest }) => shown.has(digest));
    if (known.length < lessons.length && tokenDim > 0) {
      throw new KenpinError("exemplar-unknown", "an exemplar was named that this inspector has not been shown; show it first");
    }
    knowledge = await teachFrom(known, shown, { tokenDim, scoring, nearest: distances });
    shown = new Map(known.map(({ digest }) => [digest, shown.get(digest) as Shown]));
    return knowledge?.taught ?? UNTAUGHT;
  };

  const saveBank = (): Uint8Array => {
    if (!knowledge) throw new KenpinError("nothing-taught", "there is no memory bank to keep; teach good frames first");
    return encodeBank({ knowledge, shown, key: bankKey });
  };

  /** Answers what the file's bank was taught from. */
  const loadBank = (file: Uint8Array): { lessons: Lesson[]; taught: Taught } => {
    const loaded = decodeBank(file, bankKey);
    ({ knowledge, shown } = loaded);
    tokenDim = loaded.knowledge.tokenDim;
    return { lessons: loaded.knowledge.lessons, taught: loaded.knowledge.taught };
  };

  const inspect = async (bytes: Uint8Array, withMap: boolean): Promise<{ inspection: Inspection; map: Uint8Array; heat: AnomalyMap }> => {
    const seen = await see(bytes);
    const clock = stopwatch();
    const far = knowledge && seen.tokens ? await distances(windowed(seen.tokens, seen.tiles), knowledge.bank) : null;
    const [references, head] = [knowledge?.references ?? null, far && knowledge ? knowledge.head : null];
    const weighed = head ? { ...scoring, bankWeight: head.bankWeight } : scoring;
    const { logit, bankZ, referenceZ } = fuse(seen.text, far && summaryOf(far, scoring.topRatio), references, weighed);
    const score = sigmoid(head ? logitWithHead(logit, statistics(seen), head) : logit);
    seen.ms.infer += clock();
    const map = stitch(patchHeat(seen.patchLogits, far, references, weighed), seen.tiles, preprocess.tilePx);
    const { width, height } = seen.size;
    const inspection: Inspection = {
      width,
      height,
      score,
      textLogit: seen.text,
      bankZ,
      referenceZ,
      strangeness: far && knowledge ? strangeness(far, knowledge.calm) : null,
      prompt: closestPrompt(prompts, hottest(seen)),
      regions: regionsOf(map, REGION_LEVEL, { width, height }),
      stats: seen.stats,
      ms: seen.ms,
    };
    const png = withMap ? await drawHeatMap(map, { width, height, ...HEAT }) : new Uint8Array();
    seen.ms.map += clock();
    return { inspection, map: png, heat: map };
  };

  const { provider, passedOver } = vision;
  return { provider, passedOver, precision: manifest.precision, show, teach, saveBank, loadBank, inspect };
}

/** Embedding of the patch that looks worst. */
function hottest({ patchLogits, patchEmbeds }: Seen): Float32Array {
  const at = patchLogits.reduce((best, value, i) => (value > (patchLogits[best] as number) ? i : best), 0);
  const dim = patchEmbeds.length / patchLogits.length;
  return patchEmbeds.subarray(at * dim, (at + 1) * dim);
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
