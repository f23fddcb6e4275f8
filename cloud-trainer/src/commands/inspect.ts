/** `kenpin inspect`: scores pictures by words with an imported model, untrained and uncalibrated, one line each. */
import { KenpinError, parseAtDoor, PromptSet } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import type { InspectedFile } from "../import/inspect.ts";

const Options = z.strictObject({
  model: z.string().min(1),
  prompts: z
    .array(z.string().regex(/^(good|bad)=./s, 'expected good=TEXT or bad=TEXT, e.g. bad="a scratched part"'))
    .min(1)
    .max(512),
  timeoutS: z.coerce.number().int().min(1).max(86_400),
  json: z.boolean().default(false),
});
const Files = z.array(z.string().min(1)).min(1).max(100_000);
const Words = z.strictObject({ good: PromptSet.shape.good, bad: PromptSet.shape.bad });

export function inspectCommand(): Command {
  return new Command("inspect")
    .description("score pictures by words with an imported model")
    .argument("<files...>", "pictures")
    .requiredOption("--model <dir>", "folder of `kenpin import`, with patch embeddings")
    .requiredOption("--prompts <kind=text>", "good=TEXT or bad=TEXT; repeat it for more", collect, [])
    .option("--timeout-s <n>", "seconds one picture may take", "300")
    .option("--json", "print an array of {file, score, prompt, regions, …}")
    .action(async (given: string[], options: unknown) => {
      const files = parseAtDoor(Files, given, "kenpin inspect");
      const { model, prompts, timeoutS, json } = parseAtDoor(Options, options, "kenpin inspect");
      const words = wordsOf(prompts);
      const [{ readModelFolder }, { inspectFiles }] = await Promise.all([
        import("../import/model-folder.ts"),
        import("../import/inspect.ts"),
      ]);
      const all: Record<string, unknown>[] = [];
      for await (const one of inspectFiles(await readModelFolder(model), words, files, timeoutS * 1000)) {
        if (json) all.push({ file: one.file, ...one.inspection });
        else process.stdout.write(`${line(one)}\n`);
      }
      if (json) process.stdout.write(`${JSON.stringify(all)}\n`);
    });
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function wordsOf(prompts: string[]): z.infer<typeof Words> {
  const of = (kind: string) => prompts.filter((prompt) => prompt.startsWith(`${kind}=`)).map((prompt) => prompt.slice(kind.length + 1));
  const words = { good: of("good"), bad: of("bad") };
  if (words.good.length === 0 || words.bad.length === 0)
    throw new KenpinError("invalid-input", "kenpin inspect needs --prompts good=… and --prompts bad=…, one of each at least");
  return parseAtDoor(Words, words, "kenpin inspect --prompts");
}

function line({ file, inspection: { score, prompt, regions } }: InspectedFile): string {
  const hottest = regions[0];
  const box = hottest ? [hottest.x, hottest.y, hottest.width, hottest.height].map(Math.round).join(",") : "none";
  return `${file}: score ${score.toFixed(4)}, nearer to "${prompt}", hottest region ${box}`;
}
