/**
 * Quantizes a model folder: both towers in one scheme, and a report of what that cost and gained.
 * In: folder, scheme, calibration pictures. Out: a folder with vision.onnx and text.onnx, everything else of the source
 * that its users read, and quantization.json. Whoever calls brings words, texts and pictures with known defects.
 */
import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createTokenizer, type ModelConfig } from "@kenpin/clip";
import { type ModelRunner, startModel, type Tensors } from "@kenpin/inspector";
import { type Model, productProbe, type Scheme, textModel, textPlaces, visionModel, visionPlaces, type WeightForm } from "@kenpin/onnx";
import { KenpinError, type Preprocess, PromptSet } from "@kenpin/schema";
import { wholeFolder } from "../files.ts";
import { type CalibrationSet, readCalibration } from "./calibration-pictures.ts";
import { type ChosenPlan, choicesOf, choosePlan, type SearchBudget, type TowerJob, type Tried, withTower } from "./choose-plan.ts";
import { answersOf, cosinesOf, fidelityOf, type Judged, rankAgreement, rankingOf } from "./fidelity.ts";
import { shortfallsOf } from "./gate.ts";
import { halfPlan } from "./make-plan.ts";
import { layerErrors, latencies, textAnswers, textCosine } from "./measure.ts";
import type { QuantizationReport, TowerReport } from "./report.ts";
import { openSource, type Source, type Tower } from "./source.ts";

export type QuantizeOptions = {
  model: string;
  out: string;
  scheme: Scheme;
  /** The image tower always; a bundle needs no other. */
  towers: readonly Tower[];
  /** Folder of pictures; only fp16 does without. */
  calibration: string | null;
  /** "device": as this machine's own products need it. */
  weights: WeightForm | "device";
  /** At most so many calibration pictures. */
  images: number;
  budget: SearchBudget;
  words: { good: string[]; bad: string[] };
  /** Sentences that the text tower's ranges come from, and is judged on. */
  texts: readonly string[];
  /** Pictures with known defects, of the model's own size. */
  drawJudged: (preprocess: Preprocess) => Promise<Judged[]>;
  /** Others, which ranges come from beside the calibration's: good parts alone do not show what a defect stirs. */
  drawRanged: (preprocess: Preprocess) => Promise<Judged[]>;
  onProgress: (line: string) => void;
};

/** Files of the source that its users read beside the graphs. */
const CARRIED = ["config.json", "tokenizer.json", "merges.txt", "card.json", "scoring.json"];
const APART = 8;
const ROWS_OF_A_TILE = 12;
const JUDGED_LIMIT = 24;

export async function quantizeModel(options: QuantizeOptions): Promise<QuantizationReport> {
  const source = await openSource(options.model);
  const made: { report?: QuantizationReport } = {};
  try {
    await wholeFolder(options.out, async (partial) => {
      await mkdir(join(partial, "work"));
      made.report = await quantizeInto(partial, source, options);
      await rm(join(partial, "work"), { recursive: true });
    });
    return made.report as QuantizationReport;
  } finally {
    await source.close();
  }
}

async function quantizeInto(dir: string, source: Source, options: QuantizeOptions): Promise<QuantizationReport> {
  const { config } = source;
  const { scheme, onProgress } = options;
  const workDir = join(dir, "work");
  const preprocess = { tilePx: config.image.size, ...source.tiling, ...config.preprocess };
  const calibration = await calibrationOf(options, preprocess);
  const judged = await options.drawJudged(preprocess);
  const weights = scheme === "qdq" ? { type: "int8" as const, bits: 8 as const } : await weightForm(options.weights, workDir);
  for (const warning of calibration.warnings) onProgress(`warning: ${warning}`);
  const surfaces = (await options.drawRanged(preprocess)).map(({ pixels }) => pixels);
  const vision = await quantizeVision({ dir, workDir, source, options, weights, tiles: calibration.tiles, surfaces, judged });
  const text = options.towers.includes("text") ? await quantizeText({ dir, workDir, source, options, weights }) : null;
  for (const name of CARRIED) await copyFile(join(source.dir, name), join(dir, name)).catch(ignoreMissing);
  const report: QuantizationReport = {
    format: 1,
    scheme,
    weights,
    calibration: { pictures: calibration.pictures, tiles: calibration.tiles.length, warnings: calibration.warnings },
    budget: options.budget,
    vision,
    text,
    shortfalls: shortfallsOf({ vision, text }),
  };
  await writeFile(join(dir, "quantization.json"), `${JSON.stringify(report, null, 2)}\n`);
  return report;
}

type VisionWork = {
  dir: string;
  workDir: string;
  source: Source;
  options: QuantizeOptions;
  weights: WeightForm;
  tiles: Float32Array[];
  surfaces: Float32Array[];
  judged: Judged[];
};

async function quantizeVision({
  dir,
  workDir,
  source,
  options,
  weights,
  tiles,
  surfaces,
  judged,
}: VisionWork): Promise<QuantizationReport["vision"]> {
  const { config, graph, scoring } = source;
  const { size, patch } = config.image;
  const flavour = flavourOf(options.scheme);
  // Ranges of the last block come from all tokens, also where the graph computes one of them: one row a tile is too few.
  const draw: TowerJob["draw"] = (more) =>
    visionModel({ config, ...graph, flavour, ...more, patchEmbeds: graph.patchEmbeds || more.taps !== undefined });
  const asInput = (pixels: Float32Array): Tensors => ({ pixel_values: { data: pixels, dims: [1, 3, size, size] } });
  const [own, drawn] = [halvesOf(tiles.length > 0 ? tiles : surfaces), halvesOf(surfaces)];
  const plain = { tower: "vision" as const, source };
  const pictures = judged.map(({ pixels }) => pixels);
  const before = await withTower(plain, workDir, visionModel({ config, ...graph, flavour: "ort" }), async (model) => ({
    held: await answersOf(model, own.held, size),
    drawn: await answersOf(model, drawn.held, size),
    judged: await answersOf(model, pictures, size),
  }));
  const job: TowerJob = {
    ...plain,
    places: visionPlaces(config),
    draw,
    inputs: inTurns(own.ranged, drawn.ranged).map(asInput),
    judge: async (model) => {
      const held = cosinesOf(before.held, await answersOf(model, own.held, size));
      return Math.min(fidelityOf(held), fidelityOf(cosinesOf(before.drawn, await answersOf(model, drawn.held, size))));
    },
    everyToken: Math.max(1, Math.ceil(((size / patch) ** 2 + 1) / ROWS_OF_A_TILE)),
  };
  const { tower, chosen } = await finish(job, {
    dir,
    workDir,
    options,
    weights,
    float: visionModel({ config, ...graph, flavour: "ort" }),
    probe: asInput(own.held[0] as Float32Array),
  });
  const after = await withFinal(dir, "vision", async (model) => ({
    held: await answersOf(model, own.held, size),
    judged: await answersOf(model, pictures, size),
  }));
  const prompts = await embedWords(options, source, workDir);
  const ranks = [rankingOf(before.judged, judged, prompts, scoring), rankingOf(after.judged, judged, prompts, scoring)] as const;
  return {
    ...tower,
    cosine: cosinesOf(before.held, after.held),
    cosineGenerated: cosinesOf(before.judged, after.judged),
    ranks: rankAgreement(...ranks),
    auroc: {
      pictures: judged.length,
      image: { before: ranks[0].imageAuroc, after: ranks[1].imageAuroc },
      pixel: ranks[0].pixelAuroc === null ? null : { before: ranks[0].pixelAuroc, after: ranks[1].pixelAuroc as number },
    },
    layers: await layerErrors(job, {
      workDir,
      plan: chosen?.plan ?? halfPlan(job.places),
      localErrors: chosen?.localErrors ?? null,
      inputs: own.held.slice(0, 2).map(asInput),
    }),
  };
}

/** Ranges come from one half, the choice between them from the other; of a handful both from all. */
function halvesOf(tiles: Float32Array[]): { ranged: Float32Array[]; held: Float32Array[] } {
  const half = (odd: number) => (tiles.length < APART ? tiles : tiles.filter((_, i) => i % 2 === odd));
  return { ranged: half(0), held: half(1).slice(0, JUDGED_LIMIT) };
}

/** So that both are among the rows that are kept. */
function inTurns<T>(a: readonly T[], b: readonly T[]): T[] {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => [...a.slice(i, i + 1), ...b.slice(i, i + 1)]).flat();
}

async function quantizeText({
  dir,
  workDir,
  source,
  options,
  weights,
}: Omit<VisionWork, "tiles" | "surfaces" | "judged">): Promise<NonNullable<QuantizationReport["text"]>> {
  const { config } = source;
  const flavour = flavourOf(options.scheme);
  const ids = options.texts.map((text) => asIds(config, [text]));
  const [ranged, held] = [ids.filter((_, i) => i % 2 === 0), ids.filter((_, i) => i % 2 === 1)];
  const plain = { tower: "text" as const, source };
  const float = textModel({ config, flavour: "ort" });
  const before = await withTower(plain, workDir, float, (model) => textAnswers(model, held));
  const job: TowerJob = {
    ...plain,
    places: textPlaces(config),
    draw: (more) => textModel({ config, flavour, ...more }),
    inputs: ranged,
    judge: async (model) => textCosine(before, await textAnswers(model, held)).mean,
    everyToken: Math.max(1, Math.ceil(config.text.context / ROWS_OF_A_TILE)),
  };
  const { tower } = await finish(job, { dir, workDir, options, weights, float, probe: ids[0] as Tensors });
  const cosine = await withFinal(dir, "text", async (model) => textCosine(before, await textAnswers(model, held)));
  return { ...tower, cosine };
}

type FinishOptions = { dir: string; workDir: string; options: QuantizeOptions; weights: WeightForm; float: Model; probe: Tensors };

/** Chooses, writes the file, and measures size and time against the float graph. */
async function finish(
  job: TowerJob,
  { dir, workDir, options, weights, float, probe }: FinishOptions,
): Promise<{ tower: TowerReport; chosen: ChosenPlan | null }> {
  const { scheme, budget, onProgress } = options;
  const say = scheme === "fp16" ? () => undefined : triedLines(job.tower, choicesOf(scheme), onProgress);
  const chosen = scheme === "fp16" ? null : await choosePlan(job, { scheme, weights, budget, workDir, onTried: say });
  const plan = chosen?.plan ?? halfPlan(job.places);
  const after = await job.source.write(job.tower, job.draw({ plan }), dir);
  const floatDir = join(workDir, `float-${job.tower}`);
  await mkdir(floatDir);
  const before = await job.source.write(job.tower, float, floatDir);
  const ms = await latencies([join(floatDir, `${job.tower}.onnx`), join(dir, `${job.tower}.onnx`)], probe);
  await rm(floatDir, { recursive: true });
  return {
    tower: {
      choice: chosen?.choice ?? null,
      inFloat: chosen?.inFloat ?? [],
      tried: chosen?.tried ?? [],
      bytes: { before, after, ratio: after / before },
      ms: { before: ms[0] as number, after: ms[1] as number },
    },
    chosen,
  };
}

/** A line a graph tried, with the time that those to come take; how many a search adds is not known before. */
function triedLines(tower: Tower, planned: number, onProgress: QuantizeOptions["onProgress"]): (tried: Tried) => void {
  const startedAt = Date.now();
  let count = 0;
  return ({ calibrator, alpha, dynamicShare, inFloat, fidelity }) => {
    count++;
    const seconds = ((Date.now() - startedAt) / 1000 / count) * (planned - count);
    const place = count > planned ? "search" : `${count} of ${planned}${seconds >= 1 ? `, ${Math.ceil(seconds)} s left` : ""}`;
    const parts = [calibrator, `smoothing ${alpha}`];
    if (dynamicShare > 0) parts.push(`${dynamicShare * 100} % of the ranges measured`);
    if (inFloat.length > 0) parts.push(`${inFloat.length} places in float`);
    onProgress(`${tower} (${place}): ${parts.join(", ")}: fidelity ${fidelity.toFixed(5)}`);
  };
}

async function withFinal<T>(dir: string, tower: Tower, work: (model: ModelRunner) => Promise<T>): Promise<T> {
  const model = startModel({ model: join(dir, `${tower}.onnx`) });
  try {
    return await work(model);
  } finally {
    await model.close();
  }
}

/** Prompts as a bundle has them: from the float text tower, which runs once per bundle and never on a line. */
async function embedWords({ words }: QuantizeOptions, source: Source, workDir: string): Promise<PromptSet> {
  const { config, logitScale } = source;
  const all = [...words.good, ...words.bad];
  const rows = await withTower({ tower: "text", source }, workDir, textModel({ config, flavour: "ort" }), (model) =>
    textAnswers(
      model,
      all.map((text) => asIds(config, [text])),
    ),
  );
  const embeddings = rows.flatMap((row) => [...row]);
  return PromptSet.parse({ schemaVersion: 1, ...words, dim: config.embedDim, embeddings, logitScale });
}

function asIds(config: ModelConfig, texts: string[]): Tensors {
  const { encode } = createTokenizer(config.text);
  const ids = BigInt64Array.from(texts.flatMap((text) => [...encode(text)]).map(BigInt));
  return { input_ids: { data: ids, dims: [texts.length, config.text.context] } };
}

async function calibrationOf({ calibration, scheme, images }: QuantizeOptions, preprocess: Preprocess): Promise<CalibrationSet> {
  if (calibration !== null) return readCalibration(calibration, preprocess, images);
  if (scheme === "fp16") return { tiles: [], pictures: 0, warnings: [] };
  throw new KenpinError("calibration-missing", `${scheme} takes its ranges from pictures: name a folder of frames with --calibration`);
}

/** Eight bits where this machine multiplies them exactly, seven where it saturates. */
async function weightForm(asked: QuantizeOptions["weights"], workDir: string): Promise<WeightForm> {
  if (asked !== "device") return asked;
  const file = join(workDir, "probe.onnx");
  await writeFile(file, productProbe());
  const model = startModel({ model: file });
  try {
    const { tensors } = await model.run({ x: { data: new Float32Array(64).fill(1), dims: [1, 64] } });
    const exact = Math.abs((tensors["y"]?.[0] as number) - 64) < 0.01;
    return { type: "int8", bits: exact ? 8 : 7 };
  } finally {
    await model.close();
  }
}

function flavourOf(scheme: Scheme): "ort" | "portable" {
  return scheme === "int8-dynamic" || scheme === "int8-static" ? "ort" : "portable";
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}
