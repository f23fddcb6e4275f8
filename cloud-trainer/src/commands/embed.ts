/** `kenpin embed`: embeddings of pictures or texts by an imported model, normalised, as a JSON array. */
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";

const Options = z.strictObject({
  model: z.string().min(1),
  image: z.array(z.string().min(1)).max(100_000).optional(),
  text: z.array(z.string().max(20_000)).max(100_000).optional(),
  json: z.boolean().default(false),
});
/** Enough to see that two inputs differ; programs ask for --json. */
const SHOWN = 6;

export function embedCommand(): Command {
  return new Command("embed")
    .description("embed pictures or texts with an imported model")
    .requiredOption("--model <dir>", "folder of `kenpin import`")
    .option("--image <file...>", "pictures")
    .option("--text <string...>", "texts")
    .option("--json", "print an array of {input, embedding}")
    .action(async (given: unknown) => {
      const { model, image, text, json } = parseAtDoor(Options, given, "kenpin embed");
      if (!image === !text) throw new KenpinError("invalid-input", "kenpin embed takes either --image with files or --text with strings");
      const [{ readModelFolder }, { embedImageFiles, embedStrings }] = await Promise.all([
        import("../import/model-folder.ts"),
        import("../import/embed.ts"),
      ]);
      const folder = await readModelFolder(model);
      const rows = image ? await embedImageFiles(folder, image) : await embedStrings(folder, text ?? []);
      if (json) process.stdout.write(`${JSON.stringify(rows)}\n`);
      else {
        for (const { input, embedding } of rows) {
          const first = embedding.slice(0, SHOWN).map((value) => value.toFixed(4));
          process.stdout.write(`${input}: ${first.join(" ")} ... (${embedding.length} numbers)\n`);
        }
      }
    });
}
