/**
 * The folder that `kenpin import` writes and every other command reads:
 * vision.onnx and text.onnx (each with a .data file beside it past 2 GB), config.json (the architecture), merges.txt and
 * tokenizer.json (all a tokenizer in another language needs), card.json (where it came from and under which licence). With
 * weights also model.safetensors and scoring.json, so that the folder is one to train on and to make bundles of.
 */
import { createWriteStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createTokenizer, type ModelConfig, parseModelConfig, readMerges, safetensorsStream, tensorShapes } from "@kenpin/clip";
import { errorLine, KenpinError, parseAtDoor } from "@kenpin/schema";
import { z } from "zod";
import { startScoringFile } from "./start-scoring.ts";

export const ModelCard = z.strictObject({
  format: z.literal(1),
  name: z.string(),
  parameters: z.int().min(1),
  /** exp of the checkpoint's logit_scale. */
  logitScale: z.number().positive(),
  /** Where the weights come from and under which licence; a bundle made of this folder carries it on. */
  provenance: z.array(z.strictObject({ name: z.string(), licence: z.string().min(1).max(300), source: z.string().min(1).max(500) })).min(1),
  graph: z.strictObject({
    flavour: z.enum(["portable", "ort"]),
    patchEmbeds: z.boolean(),
    layers: z.array(z.int().min(0)).max(256),
  }),
  checkpoint: z.strictObject({
    format: z.enum(["safetensors", "pytorch"]),
    naming: z.enum(["open_clip", "baai"]),
    /** Number formats found in the file; the ONNX files are float32. */
    stored: z.array(z.string()).max(16),
    /** What was changed to fit the configuration; empty when every number is the checkpoint's own. */
    changes: z.array(z.string()).max(16),
    files: z.array(z.strictObject({ name: z.string(), bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) })),
  }),
});
export type ModelCard = z.infer<typeof ModelCard>;
export type ModelFolder = { dir: string; config: ModelConfig; card: ModelCard };

/** float32 under this project's names, one tensor at a time. */
export async function writeWeights(dir: string, config: ModelConfig, read: (name: string) => Promise<Float32Array>): Promise<void> {
  const stream = safetensorsStream({ shapes: tensorShapes(config), read, metadata: { model: config.name } });
  await pipeline(Readable.from(stream), createWriteStream(join(dir, "model.safetensors")));
  await writeFile(join(dir, "scoring.json"), json(startScoringFile(config)));
}

export async function readModelFolder(dir: string): Promise<ModelFolder> {
  const config = parseModelConfig(await readJson(dir, "config.json"), join(dir, "config.json"));
  const card = parseAtDoor(ModelCard, await readJson(dir, "card.json"), join(dir, "card.json"));
  return { dir, config, card };
}

export async function writeDescription(dir: string, config: ModelConfig, card: ModelCard): Promise<void> {
  const { startId, endId } = createTokenizer(config.text);
  const tokenizer = {
    kind: "clip-bpe",
    context: config.text.context,
    startId,
    endId,
    merges: "merges.txt",
    vocabulary: "256 byte letters, the same with </w>, one entry a merge, start, end",
    cleaning: "ftfy.fix_text, html.unescape twice, runs of whitespace to one space, lower case",
    padId: 0,
  };
  await writeFile(join(dir, "config.json"), json(config));
  await writeFile(join(dir, "tokenizer.json"), json(tokenizer));
  await writeFile(join(dir, "merges.txt"), `${readMerges(config.text.merges).join("\n")}\n`);
  await writeFile(join(dir, "card.json"), json(ModelCard.parse(card)));
}

async function readJson(dir: string, name: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(dir, name), "utf8"));
  } catch (error) {
    throw new KenpinError(
      "model-folder-unreadable",
      `${dir} is no folder of \`kenpin import\`: ${name} cannot be read (${errorLine(error)})`,
      {
        cause: error,
      },
    );
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
