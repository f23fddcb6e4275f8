/**
 * The shipped base model and student as a device has them: a bundle's files, in float or in 8 bits, and frames to inspect.
 * The same quantization as the trainer's, without its search, so that one takes seconds.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createRandom } from "@kenpin/stats";
import { stageBundle } from "../../cloud-trainer/src/bundle/stage.ts";
import { judgingInputs } from "../../cloud-trainer/src/judging-inputs.ts";
import { quantizeModel } from "../../cloud-trainer/src/quantize/quantize-model.ts";
import { drawEpisode, goldenPictures } from "../../cloud-trainer/src/samples/pictures.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";

const ROOT = join(import.meta.dirname, "../../cloud-trainer");
const JUDGED = 4;

export async function stageShipped(model: "base" | "student", precision: "float" | "int8", dir: string): Promise<string> {
  const bundleDir = join(dir, `${model}-${precision}`);
  const int8Graph = precision === "int8" ? await quantized(model, dir) : null;
  const staged = { modelDir: join(ROOT, model), words: BASE_WORDS, golden: await goldenPictures(1), outDir: bundleDir };
  const manifest = await stageBundle({ ...staged, ...(int8Graph && { int8Graph }) });
  await writeFile(join(bundleDir, "manifest.json"), JSON.stringify(manifest));
  return bundleDir;
}

/** Generated parts of one material, half of them bad. */
export async function shippedFrames(count: number, sidePx: number): Promise<Uint8Array[]> {
  const { frames } = await drawEpisode(createRandom(31), { sidePx, references: 0, frames: count });
  return frames.map(({ png }) => png);
}

async function quantized(model: string, dir: string): Promise<string> {
  const calibration = join(dir, "calibration");
  await mkdir(calibration, { recursive: true });
  for (const [i, png] of (await shippedFrames(12, 160)).entries()) await writeFile(join(calibration, `${i}.png`), png);
  const out = join(dir, `${model}-quantized`);
  await quantizeModel({
    model: join(ROOT, model),
    out,
    scheme: "int8-dynamic",
    calibration,
    towers: ["vision"],
    weights: "device",
    images: 12,
    budget: { evaluations: 0, target: 0.997, sizeRatio: 0.3 },
    ...judgingInputs(JUDGED),
    onProgress: () => undefined,
  });
  return join(out, "vision.onnx");
}
