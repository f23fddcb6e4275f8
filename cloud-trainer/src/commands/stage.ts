/** `kenpin stage`: a model and words become a bundle's unsigned files; prints what its manifest will say of them as one JSON line. */
import { ensembleFor, partWords } from "@kenpin/clip";
import { KenpinError, PartWords, parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import { readPartSheet } from "../bundle/part-sheet-file.ts";
import { stageBundle } from "../bundle/stage.ts";
import { readJsonFile } from "../json-file.ts";
import { goldenPictures } from "../samples/pictures.ts";
import { readWeightsFolder } from "../weights-folder.ts";

const Options = z.strictObject({
  model: z.string(),
  words: z.string().optional(),
  sheet: z.string().optional(),
  withText: z.boolean().optional(),
  out: z.string(),
  seed: z.coerce.number().int().min(0),
});

export function stageCommand(): Command {
  return new Command("stage")
    .description("turn a model and words into a bundle's unsigned files")
    .requiredOption("--model <dir>", "folder of model.safetensors and config.json")
    .option("--words <file>", 'JSON file: {"good": [...], "bad": [...]}, whole sentences')
    .option("--sheet <file>", "part sheet (YAML: part, object, good, bad) in place of --words")
    .option("--with-text", "put the text tower into the bundle too, so that words can be changed on the device")
    .requiredOption("--out <dir>", "folder for the files")
    .option("--seed <n>", "seed of everything drawn at random", "1")
    .action(async (given: unknown) => {
      const options = parseAtDoor(Options, given, "kenpin stage");
      const { model, withText, out, seed } = options;
      const words = { ...(await readWords(options)), ...(withText && { withText }) };
      const staged = await stageBundle({ modelDir: model, words, golden: await goldenPictures(seed), outDir: out });
      process.stdout.write(`${JSON.stringify(staged)}\n`);
    });
}

async function readWords({ model, words, sheet }: z.infer<typeof Options>): Promise<PartWords> {
  if ((words === undefined) === (sheet === undefined))
    throw new KenpinError("invalid-input", "kenpin stage: expected either --words or --sheet");
  if (words !== undefined) return readJsonFile(PartWords, words);
  const { config } = await readWeightsFolder(model);
  return partWords(await readPartSheet(sheet as string), ensembleFor(config.text));
}
