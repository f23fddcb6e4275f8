/** `kenpin import`: a checkpoint of the EVA-CLIP family becomes a folder with ONNX models, tokenizer data and a card. */
import { readFile } from "node:fs/promises";
import type { ModelConfig } from "@kenpin/clip";
import { errorLine, KenpinError, parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import { GRAPH_OPTIONS, graphOf, withGraphOptions } from "./graph-options.ts";

const Options = z.strictObject({
  model: z.string().min(1),
  out: z.string().min(1),
  size: z.coerce.number().int().min(8).max(4096).optional(),
  licence: z.string().min(1).max(300).optional(),
  weights: z.boolean().default(false),
  json: z.boolean().default(false),
  ...GRAPH_OPTIONS,
});

export function importCommand(): Command {
  const command = new Command("import")
    .description("turn a checkpoint (safetensors or PyTorch) into an ONNX model folder")
    .argument("<checkpoint>", "a file, or a folder that `kenpin pull` filled")
    .requiredOption("--model <name|file>", "a configuration's name, e.g. EVA02-B-16, or a JSON file of one")
    .requiredOption("--out <dir>", "new folder for the model")
    .option("--size <px>", "another input size; position embeddings are resampled to it")
    .option("--licence <text>", "the weights' licence, where `kenpin pull` has not recorded it")
    .option("--weights", "also write model.safetensors and scoring.json, to train on and to make bundles of")
    .option("--json", "print the card as JSON");
  return withGraphOptions(command, "portable").action(async (checkpoint: string, given: unknown) => {
    const { model, out, size, licence, weights, json, ...graph } = parseAtDoor(Options, given, "kenpin import");
    const { importCheckpoint } = await import("../import/import-checkpoint.ts");
    const config = await configOf(model, size);
    const card = await importCheckpoint({ checkpoint, config, out, licence, weights, graph: graphOf(graph) });
    if (json) process.stdout.write(`${JSON.stringify(card)}\n`);
    else
      process.stdout.write(
        `${out}: ${card.name}, ${card.parameters} parameters, ${card.checkpoint.naming} names, licence ${card.provenance[0]?.licence}\n`,
      );
  });
}

async function configOf(model: string, size: number | undefined): Promise<ModelConfig> {
  const { modelConfig, parseModelConfig } = await import("@kenpin/clip");
  const config = model.endsWith(".json") ? parseModelConfig(await readJson(model), model) : modelConfig(model);
  if (size === undefined || size === config.image.size) return config;
  return parseModelConfig({ ...config, image: { ...config.image, size } }, `${config.name} at ${size} pixels`);
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new KenpinError("file-unreadable", `${file} is no readable JSON (${errorLine(error)}); expected a model configuration`, {
      cause: error,
    });
  }
}
