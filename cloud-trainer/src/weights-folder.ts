/**
 * A folder a model is trained on from: model.safetensors, config.json (the architecture), scoring.json (how its
 * similarities become one score, and how frames become tiles) and card.json (where the weights come from, licences, recipe).
 * The base model and every run's model/ have this form.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  bytesSource,
  encodeSafetensors,
  type ModelConfig,
  parseModelConfig,
  readAllTensors,
  type Tensor,
  tensorShapes,
} from "@kenpin/clip";
import { errorLine, KenpinError, parseAtDoor, Preprocess, Provenance, Scoring, Thresholds } from "@kenpin/schema";
import { z } from "zod";

export const ScoringFile = z.strictObject({
  scoring: Scoring,
  thresholds: Thresholds,
  tiling: Preprocess.pick({ overlapPx: true, maxTiles: true }),
  /** Blocks, from 0, whose tokens fill the memory bank. */
  tokenLayers: z.array(z.int().min(0)).min(1),
});
export type ScoringFile = z.infer<typeof ScoringFile>;

const WeightsCard = z.looseObject({ name: z.string(), provenance: z.array(Provenance.omit({ sha256: true })).min(1) });
export type WeightsFolder = ScoringFile & {
  config: ModelConfig;
  tensors: Map<string, Tensor>;
  card: z.infer<typeof WeightsCard>;
  sha256: string;
};

export async function readWeightsFolder(dir: string): Promise<WeightsFolder> {
  const config = parseModelConfig(await readJson(dir, "config.json"), join(dir, "config.json"));
  const scoring = parseAtDoor(ScoringFile, await readJson(dir, "scoring.json"), join(dir, "scoring.json"));
  const card = parseAtDoor(WeightsCard, await readJson(dir, "card.json"), join(dir, "card.json"));
  const bytes = await readOrSay(join(dir, "model.safetensors"));
  const tensors = await readAllTensors(bytesSource(bytes));
  const wrong = [...tensorShapes(config)].find(([name, shape]) => tensors.get(name)?.shape.join() !== shape.join());
  if (wrong) {
    const [name, shape] = wrong;
    throw new KenpinError(
      "weights-mismatch",
      `${dir}: expected ${name} [${shape}], found [${tensors.get(name)?.shape ?? "nothing"}]; config.json and model.safetensors do not belong together`,
    );
  }
  return { ...scoring, config, tensors, card, sha256: createHash("sha256").update(bytes).digest("hex") };
}

export async function writeWeightsFolder(dir: string, folder: Omit<WeightsFolder, "sha256">): Promise<void> {
  const { config, tensors, card, scoring, thresholds, tiling, tokenLayers } = folder;
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "model.safetensors"), encodeSafetensors(tensors, { model: config.name }));
  await writeFile(join(dir, "config.json"), json(config));
  await writeFile(join(dir, "scoring.json"), json(ScoringFile.parse({ scoring, thresholds, tiling, tokenLayers })));
  await writeFile(join(dir, "card.json"), json(card));
}

/** The bundle's preprocessing: the model's own numbers, and how frames are tiled. */
export function preprocessOf({ config, tiling }: Pick<WeightsFolder, "config" | "tiling">): Preprocess {
  return { tilePx: config.image.size, ...tiling, ...config.preprocess };
}

async function readJson(dir: string, name: string): Promise<unknown> {
  const text = (await readOrSay(join(dir, name))).toString("utf8");
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new KenpinError("weights-unreadable", `${join(dir, name)} is no JSON: ${errorLine(error)}`, { cause: error });
  }
}

async function readOrSay(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    const hint = "expected a folder with model.safetensors, config.json, scoring.json and card.json";
    throw new KenpinError("weights-unreadable", `${file} cannot be read (${errorLine(error)}); ${hint}`, { cause: error });
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
