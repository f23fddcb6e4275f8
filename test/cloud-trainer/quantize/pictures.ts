/** Generated surfaces as files, as a camera would leave them, and the base model's folder with other weights. */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeSafetensors } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";
import { readWeightsFolder } from "../../../cloud-trainer/src/weights-folder.ts";
import { drawEpisode } from "../../../cloud-trainer/src/samples/pictures.ts";
import { withOutliers } from "../../onnx/outliers.ts";

export const BASE = join(import.meta.dirname, "../../../cloud-trainer/base");

/** `count` pictures of the base model's side, of four materials. */
export async function writePictures(dir: string, count: number): Promise<string> {
  await mkdir(dir, { recursive: true });
  const random = createRandom(77);
  for (let i = 0; i < count; i += 4) {
    const { frames } = await drawEpisode(random, { sidePx: 80, references: 0, frames: Math.min(4, count - i) });
    for (const [j, { png }] of frames.entries()) await writeFile(join(dir, `${i + j}.png`), png);
  }
  return dir;
}

export async function writeOutlierBase(dir: string): Promise<string> {
  const { config, tensors } = await readWeightsFolder(BASE);
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "model.safetensors"), encodeSafetensors(withOutliers(tensors, config), { model: config.name }));
  for (const name of ["config.json", "scoring.json", "card.json"]) await copyFile(join(BASE, name), join(dir, name));
  return dir;
}
