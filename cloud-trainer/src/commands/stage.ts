/** `kenpin stage`: a model and words become a bundle's unsigned files; prints what its manifest will say of them as one JSON line. */
import { parseAtDoor, PromptSet } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import { stageBundle } from "../bundle/stage.ts";
import { readJsonFile } from "../json-file.ts";
import { goldenPictures } from "../samples/pictures.ts";

const Options = z.strictObject({ model: z.string(), words: z.string(), out: z.string(), seed: z.coerce.number().int().min(0) });
const Words = z.strictObject({ good: PromptSet.shape.good, bad: PromptSet.shape.bad });

export function stageCommand(): Command {
  return new Command("stage")
    .description("turn a model and words into a bundle's unsigned files")
    .requiredOption("--model <dir>", "folder of model.safetensors and config.json")
    .requiredOption("--words <file>", 'JSON file: {"good": [...], "bad": [...]}')
    .requiredOption("--out <dir>", "folder for the files")
    .option("--seed <n>", "seed of everything drawn at random", "1")
    .action(async (given: unknown) => {
      const { model, words, out, seed } = parseAtDoor(Options, given, "kenpin stage");
      const staged = await stageBundle({
        modelDir: model,
        words: await readJsonFile(Words, words),
        golden: await goldenPictures(seed),
        outDir: out,
      });
      process.stdout.write(`${JSON.stringify(staged)}\n`);
    });
}
