/**
 * What `npm run bench:int8` measures, cut into parts of minutes. In: a work folder and the standard route's Python. Out: each
 * part leaves its models there for the next, and answers with its figures.
 */
import { spawnSync } from "node:child_process";
import { copyFile, cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bytesSource, decodeImage, encodeSafetensors, modelConfig, readAllTensors, tileFrame } from "@kenpin/clip";
import { type Inspector, startInspector } from "@kenpin/inspector";
import { visionModel } from "@kenpin/onnx";
import { createRandom } from "@kenpin/stats";
import { stageBundle } from "../../cloud-trainer/src/bundle/stage.ts";
import { judgingInputs } from "../../cloud-trainer/src/judging-inputs.ts";
import { type QuantizeOptions, quantizeModel } from "../../cloud-trainer/src/quantize/quantize-model.ts";
import { drawEpisode, goldenPictures } from "../../cloud-trainer/src/samples/pictures.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { withOutliers } from "../onnx/outliers.ts";
import { type WithoutVnni, withoutVnni } from "./int8-haswell.ts";
import type { Python } from "./int8-python.ts";

export type Measured = { msMedian: number; msLeast: number; bytes: number; cosineMean: number; cosineLeast: number };
export type Timed = { onnxruntime: string; models: Record<string, Measured> };
/** Milliseconds of inference for one frame, all tiles. */
export type Frames = { tiles: number; ms: Record<string, number> };
export type Part = { name: string; minutes: number; run: () => Promise<unknown> };

export const MODEL = "EVA02-B-16";
export const SCHEMES = ["int8-dynamic", "int8-static"] as const;
const ROOT = join(import.meta.dirname, "../..");
const SCRIPT = join(import.meta.dirname, "int8_routes.py");
const NAMES = ["std", "float", "std8", ...SCHEMES];
const FRAME_PX = 250;
const FRAME_ROUNDS = 11;

type Setup = { python: Python; dir: string; rounds: number; say: (line: string) => void };

export function partsOf(setup: Setup): Part[] {
  const kinds = (["plain", "outliers"] as const).flatMap((kind): Part[] => [
    { name: `${kind}-standard`, minutes: 1, run: () => standardRoute(setup, kind) },
    { name: `${kind}-float`, minutes: 1, run: () => ourFloat(setup, kind) },
    ...SCHEMES.map((scheme) => ({ name: `${kind}-${scheme}`, minutes: 2, run: () => ourEightBits(setup, kind, scheme) })),
    { name: `${kind}-timing`, minutes: 1, run: () => timing(setup, kind) },
  ]);
  const frames = ["student", "base"].map((model) => ({ name: `frame-${model}`, minutes: 1, run: () => frameTimes(setup, model) }));
  const without = { name: "without-vnni", minutes: 3, run: () => onHaswell(setup) };
  return [...kinds, ...frames, without];
}

/** torch.onnx.export and quantize_dynamic of one checkpoint: seeded numbers, or the same with outliers. */
async function standardRoute({ python, dir }: Setup, kind: string): Promise<void> {
  const home = join(dir, kind);
  await mkdir(home, { recursive: true });
  const checkpoint = join(home, "checkpoint.safetensors");
  if (kind === "outliers") {
    const tensors = await tensorsIn(join(dir, "plain/checkpoint.safetensors"));
    await writeFile(checkpoint, encodeSafetensors(withOutliers(tensors, modelConfig(MODEL))));
  }
  python.run(SCRIPT, kind === "plain" ? ["export", home] : ["export", home, checkpoint]);
}

/** The pictures that are embedded are none of those that ranges are taken from. */
async function ourFloat({ dir }: Setup, kind: string): Promise<void> {
  const home = join(dir, kind);
  const config = modelConfig(MODEL);
  const side = config.image.size;
  const preprocess = { tilePx: side, overlapPx: 0, maxTiles: 1, ...config.preprocess };
  const pictures = await surfaces(24, side);
  await writePngs(join(home, "pictures"), pictures.slice(0, 16));
  const held = await Promise.all(pictures.slice(16).map(async (png) => (await tileFrame(await decodeImage(png), preprocess)).pixelValues));
  await writeFile(join(home, "pixels"), Buffer.concat(held.map((data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))));
  const checkpoint = join(home, "checkpoint.safetensors");
  await writeFile(
    join(home, "float.onnx"),
    visionModel({ config, patchEmbeds: false, flavour: "ort" }).encode(await tensorsIn(checkpoint)),
  );
  const out = join(home, "model");
  await rm(out, { recursive: true, force: true });
  kenpin(["import", checkpoint, "--model", MODEL, "--no-patch-embeds", "--licence", "none: seeded numbers", "--out", out]);
}

async function ourEightBits({ dir, say }: Setup, kind: string, scheme: (typeof SCHEMES)[number]): Promise<void> {
  const home = join(dir, kind);
  await quantize(join(home, "model"), join(home, `folder-${scheme}`), { scheme, calibration: join(home, "pictures"), judged: 4, say });
  await copyFile(join(home, `folder-${scheme}`, "vision.onnx"), join(home, `${scheme}.onnx`));
}

async function timing({ python, dir, rounds }: Setup, kind: string): Promise<Timed> {
  // Time does not depend on the numbers: with outliers only the embeddings are of interest.
  return JSON.parse(python.run(SCRIPT, ["time", join(dir, kind), String(kind === "plain" ? rounds : 1), ...NAMES])) as Timed;
}

function onHaswell({ dir, say }: Setup): Promise<WithoutVnni> {
  return withoutVnni({
    dir: join(dir, "without-vnni"),
    draw: (side) => surfaces(19, side),
    quantize: (model, out, calibration, rounding) => quantize(model, out, { ...rounding, calibration, judged: 4, say }),
  });
}

/** Through the inspector that a device runs. */
async function frameTimes({ dir, say }: Setup, name: string): Promise<Frames> {
  const model = join(ROOT, "cloud-trainer", name);
  const home = join(dir, `frame-${name}`);
  await rm(home, { recursive: true, force: true });
  const float = join(home, "float32");
  const { preprocess, scoring } = await stageBundle({ modelDir: model, words: BASE_WORDS, golden: await goldenPictures(1), outDir: float });
  await writeFile(join(float, "manifest.json"), JSON.stringify({ precision: "fp32", preprocess, scoring }));
  const frames = await surfaces(16, FRAME_PX);
  await writePngs(join(home, "frames"), frames);
  for (const scheme of SCHEMES) {
    const out = join(home, `folder-${scheme}`);
    await quantize(model, out, { scheme, calibration: join(home, "frames"), judged: 16, say });
    await cp(float, join(home, scheme), { recursive: true });
    await copyFile(join(out, "vision.onnx"), join(home, scheme, "vision.onnx"));
  }
  const data = new Uint8Array(FRAME_PX * FRAME_PX * 3);
  const { count } = await tileFrame({ width: FRAME_PX, height: FRAME_PX, data }, preprocess);
  return { tiles: count, ms: await inspectInTurns(home, ["float32", ...SCHEMES], frames) };
}

/** Medians over rounds in which each bundle inspects all frames; the first round is not counted. */
async function inspectInTurns(home: string, formats: readonly string[], frames: readonly Uint8Array[]): Promise<Frames["ms"]> {
  const times = new Map<string, number[]>(formats.map((format) => [format, []]));
  const inspectors = new Map<string, Inspector>();
  try {
    for (const format of formats) inspectors.set(format, await startInspector({ bundleDir: join(home, format), threads: 2 }));
    for (let round = 0; round < FRAME_ROUNDS; round++) {
      for (const [format, inspector] of inspectors) {
        for (const frame of frames) {
          const { ms } = (await inspector.inspect(frame)).inspection;
          if (round > 0) times.get(format)?.push(ms.infer);
        }
      }
    }
  } finally {
    for (const inspector of inspectors.values()) await inspector.close();
  }
  const median = (list: number[]) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)] as number;
  return Object.fromEntries([...times].map(([format, list]) => [format, median(list)]));
}

type Quantizing = Pick<QuantizeOptions, "scheme" | "calibration"> & {
  weights?: QuantizeOptions["weights"];
  judged: number;
  say: (line: string) => void;
};

async function quantize(model: string, out: string, { weights = "device", judged, say, ...asked }: Quantizing): Promise<void> {
  await rm(out, { recursive: true, force: true });
  await quantizeModel({
    model,
    out,
    ...asked,
    towers: ["vision"],
    weights,
    images: 128,
    budget: { evaluations: 0, target: 0.997, sizeRatio: 0.3 },
    ...judgingInputs(judged),
    onProgress: (line) => say(`  ${line}`),
  });
}

async function surfaces(count: number, sidePx: number): Promise<Uint8Array[]> {
  const random = createRandom(31);
  const pictures: Uint8Array[] = [];
  while (pictures.length < count)
    pictures.push(...(await drawEpisode(random, { sidePx, references: 0, frames: 4 })).frames.map(({ png }) => png));
  return pictures;
}

async function writePngs(dir: string, pictures: readonly Uint8Array[]): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const [i, png] of pictures.entries()) await writeFile(join(dir, `${i}.png`), png);
}

async function tensorsIn(checkpoint: string) {
  return readAllTensors(bytesSource(await readFile(checkpoint)));
}

function kenpin(args: string[]): void {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  const ran = spawnSync(process.execPath, [...flags, join(ROOT, "cloud-trainer/src/cli.ts"), ...args], { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(ran.stderr.trim().split("\n").at(-1));
}
