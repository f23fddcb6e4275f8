/**
 * The folder that is quantized: of `kenpin import`, or one to train on (as the base model's). Weights come from
 * model.safetensors where it is there, else from the folder's own float32 graphs.
 * In: the folder. Out: what it is, and a way to write a drawn graph's file from its weights, tensor by tensor.
 */
import { existsSync } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type ByteSource, type Checkpoint, type ModelConfig, openSafetensors, parseModelConfig } from "@kenpin/clip";
import { type ModelWorker, startModelWorker } from "@kenpin/inspector";
import { type Model, type ModelBytes, openPrepared } from "@kenpin/onnx";
import { errorLine, KenpinError, type Scoring } from "@kenpin/schema";
import { z } from "zod";
import { type OpenFile, openFile } from "../files.ts";
import { ScoringFile } from "../weights-folder.ts";

export type Tower = "vision" | "text";
export type Source = {
  dir: string;
  config: ModelConfig;
  /** What the image tower's graph answers with. */
  graph: { patchEmbeds: boolean; layers: number[] };
  scoring: Pick<Scoring, "topRatio" | "imageWeight">;
  tiling: { overlapPx: number; maxTiles: number };
  logitScale: number;
  /** Writes `<tower>.onnx`, and `<tower>.data` beside it past 2 GB; answers with the bytes written. */
  write: (tower: Tower, model: Model, dir: string) => Promise<number>;
  /** One process for all small models, started when it is first asked for. */
  worker: () => ModelWorker;
  close: () => Promise<void>;
};

/** What of either folder's card is needed here; the rest is carried on as it is. */
const Card = z.looseObject({
  logitScale: z.number().positive().optional(),
  graph: z.looseObject({ patchEmbeds: z.boolean(), layers: z.array(z.int().min(0)).max(256) }).optional(),
});
const WORDS_ALONE = { topRatio: 0.01, imageWeight: 0.5 };

export async function openSource(dir: string): Promise<Source> {
  const config = parseModelConfig(await readJson(dir, "config.json"), join(dir, "config.json"));
  const card = parseCard(await readJson(dir, "card.json"), dir);
  const scoring = existsSync(join(dir, "scoring.json")) ? ScoringFile.safeParse(await readJson(dir, "scoring.json")).data : undefined;
  const opened: OpenFile[] = [];
  const openHere = async (name: string) => {
    const file = await openFile(join(dir, name));
    opened.push(file);
    return file.source;
  };
  const checkpoint = existsSync(join(dir, "model.safetensors")) ? await openSafetensors(await openHere("model.safetensors")) : null;
  const side = config.image.size;
  let worker: ModelWorker | null = null;
  return {
    dir,
    config,
    graph: card.graph ?? { patchEmbeds: true, layers: scoring?.tokenLayers ?? [] },
    scoring: scoring?.scoring ?? WORDS_ALONE,
    tiling: scoring?.tiling ?? { overlapPx: Math.round(side / 4), maxTiles: 64 },
    logitScale: card.logitScale ?? (await logitScaleOf(checkpoint)),
    write: async (tower, model, out) => writeFiles(out, tower, await streamOf(tower, model, checkpoint, openHere)),
    worker: () => {
      worker ??= startModelWorker();
      return worker;
    },
    close: async () => {
      await worker?.close();
      for (const file of opened) await file.close();
    },
  };
}

async function streamOf(tower: Tower, model: Model, checkpoint: Checkpoint | null, openHere: (name: string) => Promise<ByteSource>) {
  if (checkpoint) return model.stream((name) => checkpoint.tensor(name), `${tower}.data`);
  return model.streamPrepared(await openPrepared(await openHere(`${tower}.onnx`), openHere), `${tower}.data`);
}

async function writeFiles(dir: string, tower: Tower, pieces: AsyncGenerator<ModelBytes>): Promise<number> {
  const files = new Map<ModelBytes["file"], FileHandle>();
  let written = 0;
  try {
    for await (const { file, bytes } of pieces) {
      const handle = files.get(file) ?? (await open(join(dir, file === "model" ? `${tower}.onnx` : `${tower}.data`), "w"));
      files.set(file, handle);
      await handle.appendFile(bytes);
      written += bytes.length;
    }
  } finally {
    for (const handle of files.values()) await handle.close();
  }
  return written;
}

async function logitScaleOf(checkpoint: Checkpoint | null): Promise<number> {
  return checkpoint?.names.includes("logit_scale") ? Math.exp((await checkpoint.tensor("logit_scale"))[0] as number) : 100;
}

function parseCard(value: unknown, dir: string): z.infer<typeof Card> {
  const parsed = Card.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new KenpinError("model-folder-unreadable", `${join(dir, "card.json")} is not this program's card; import the checkpoint again`);
}

async function readJson(dir: string, name: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(dir, name), "utf8"));
  } catch (error) {
    const hint = "expected a folder of `kenpin import`, or one with model.safetensors, config.json, scoring.json and card.json";
    throw new KenpinError("model-folder-unreadable", `${join(dir, name)} cannot be read (${errorLine(error)}); ${hint}`, { cause: error });
  }
}
