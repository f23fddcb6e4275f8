/**
 * The words of a part as a bundle's prompts, by the text tower of the model that the bundle holds.
 * In: a weights' folder, and whole sentences or a part sheet. Out: prompts.json's content, every row of length 1; and, for a
 * bundle whose words may be changed on a device, the tower itself with what a tokenizer needs.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTokenizer, type EmbeddedSheet, embedPartSheet } from "@kenpin/clip";
import { embedTexts } from "@kenpin/inspector";
import { textGraph } from "@kenpin/onnx";
import { type PartSheet, type PartWords, PromptSet, type TextTower } from "@kenpin/schema";
import type { WeightsFolder } from "../weights-folder.ts";

type Weights = Pick<WeightsFolder, "config" | "tensors">;

/** Writes the tower where the runtime can open it, for as long as `work` takes. */
export async function withTextModel<T>({ config, tensors }: Weights, work: (textModel: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-words-"));
  try {
    const textModel = join(folder, "text.onnx");
    await writeFile(textModel, textGraph({ config, weights: tensors }));
    return await work(textModel);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export async function embedWords(weights: Weights, { good, bad, sheet }: PartWords, textModel: string): Promise<PromptSet> {
  if (sheet) return PromptSet.parse((await embedSheet(weights, sheet, textModel)).prompts);
  const { config } = weights;
  const { encode } = createTokenizer(config.text);
  const rows = await embedTexts({ textModel, inputIds: [...good, ...bad].map(encode) });
  const embeddings = rows.flatMap((row) => [...row]);
  return PromptSet.parse({ schemaVersion: 1, good, bad, dim: config.embedDim, embeddings, logitScale: logitScaleOf(weights) });
}

export function embedSheet(weights: Weights, sheet: PartSheet, textModel: string): Promise<EmbeddedSheet> {
  const { text } = weights.config;
  return embedPartSheet(sheet, { text, logitScale: logitScaleOf(weights), embed: (inputIds) => embedTexts({ textModel, inputIds }) });
}

/** text.onnx and text.json. */
export function textTowerFiles(weights: Weights): [name: string, data: string | Uint8Array][] {
  const { config, tensors } = weights;
  const { context, merges } = config.text;
  const tower: TextTower = { schemaVersion: 1, context, merges, logitScale: logitScaleOf(weights) };
  return [
    ["text.onnx", textGraph({ config, weights: tensors })],
    ["text.json", JSON.stringify(tower)],
  ];
}

function logitScaleOf({ tensors }: Weights): number {
  return Math.exp(tensors.get("logit_scale")?.data[0] as number);
}
