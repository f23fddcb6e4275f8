/**
 * 8 bits on a processor without VNNI, whose unsigned·signed products add up pairs in 16 bits and saturate: EVA02-B-16's width and
 * tokens at three blocks, with outlier weights, run by qemu's Haswell. In: a work folder. Out: the least cosine to the float tower
 * (run natively) of 7-bit weights, which is what the quantizer takes there, and of 8-bit ones; or why it was not run.
 */
import { spawnSync } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeImage, encodeSafetensors, type ModelConfig, modelConfig, tileFrame } from "@kenpin/clip";
import { type Scheme, visionModel, type WeightForm } from "@kenpin/onnx";
import { withOutliers } from "../onnx/outliers.ts";
import { seededTensors } from "../onnx/seeded-weights.ts";

export type WithoutVnni = { skipped: string } | { cosineLeast: Record<string, number> };
export type Rounding = { scheme: Scheme; weights: WeightForm };

const DEPTH = 3;
const HELD = 3;
const SEVEN = { type: "int8", bits: 7 } as const;
const FORMS: Record<string, Rounding> = {
  "int8-dynamic, 7 bits": { scheme: "int8-dynamic", weights: SEVEN },
  "int8-static, 7 bits": { scheme: "int8-static", weights: SEVEN },
  "int8-dynamic, 8 bits": { scheme: "int8-dynamic", weights: { type: "int8", bits: 8 } },
};

type Options = {
  dir: string;
  /** Pictures of this side: ranges come from the first, the last are embedded. */
  draw: (sidePx: number) => Promise<Uint8Array[]>;
  quantize: (model: string, out: string, calibration: string, rounding: Rounding) => Promise<void>;
};

export async function withoutVnni({ dir, draw, quantize }: Options): Promise<WithoutVnni> {
  const emulator = ["qemu-x86_64", "qemu-x86_64-static"].find((name) => spawnSync(name, ["--version"]).status === 0);
  if (!emulator) return { skipped: "qemu-x86_64 is not installed (Debian: qemu-user-static)" };
  if (process.arch !== "x64") return { skipped: `this Node is ${process.arch}, and the emulator runs x64` };
  const config = shortConfig();
  const side = config.image.size;
  await rm(dir, { recursive: true, force: true });
  const [model, pictures, pixels] = [join(dir, "model"), join(dir, "pictures"), join(dir, "pixels")];
  for (const folder of [model, pictures]) await mkdir(folder, { recursive: true });
  const tensors = withOutliers(seededTensors(config), config);
  await writeFile(join(model, "model.safetensors"), encodeSafetensors(tensors));
  await writeFile(join(model, "config.json"), JSON.stringify(config));
  await writeFile(join(model, "card.json"), JSON.stringify({ graph: { patchEmbeds: false, layers: [] } }));
  await writeFile(join(dir, "float.onnx"), visionModel({ config, patchEmbeds: false }).encode(tensors));
  const drawn = await draw(side);
  for (const [i, png] of drawn.slice(0, -HELD).entries()) await writeFile(join(pictures, `${i}.png`), png);
  const preprocess = { tilePx: side, overlapPx: 0, maxTiles: 1, ...config.preprocess };
  const held = await Promise.all(drawn.slice(-HELD).map(async (png) => (await tileFrame(await decodeImage(png), preprocess)).pixelValues));
  await writeFile(pixels, Buffer.concat(held.map((data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))));
  const names = Object.keys(FORMS);
  for (const [i, name] of names.entries()) await quantize(model, join(dir, String(i)), pictures, FORMS[name] as Rounding);
  const [float] = embed([pixels, String(side), join(dir, "float.onnx")]) as [number[][]];
  const emulated = embed([pixels, String(side), ...names.map((_, i) => join(dir, String(i), "vision.onnx"))], emulator);
  return { cosineLeast: Object.fromEntries(names.map((name, i) => [name, leastCosine(float, emulated[i] as number[][])])) };
}

/** The text tower is not of interest: as small as can be. */
function shortConfig(): ModelConfig {
  const { image, text, ...rest } = modelConfig("EVA02-B-16");
  return { ...rest, image: { ...image, depth: DEPTH }, text: { ...text, layers: 1, merges: 1000 } };
}

function embed(args: string[], emulator?: string): number[][][] {
  const node = [process.execPath, "--disable-warning=ExperimentalWarning", join(import.meta.dirname, "int8-embed.ts"), ...args];
  const [program, ...rest] = emulator ? [emulator, "-cpu", "Haswell", ...node] : node;
  const ran = spawnSync(program as string, rest, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
  if (ran.status !== 0) throw new Error(`${program} failed: ${ran.stderr.trim().split("\n").at(-1)}`);
  return JSON.parse(ran.stdout) as number[][][];
}

function leastCosine(a: readonly number[][], b: readonly number[][]): number {
  return Math.min(...a.map((row, i) => row.reduce((sum, value, j) => sum + value * (b[i]?.[j] as number), 0)));
}
