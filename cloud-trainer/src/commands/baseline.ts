/** `kenpin baseline`: scores of plain hand-made features, so that a model's worth can be seen beside them. */
import { Command } from "commander";
import { BaselineRequest, baselineScores } from "../evaluate/baseline.ts";
import { readJsonFile } from "../json-file.ts";

export function baselineCommand(): Command {
  return new Command("baseline")
    .description("score pictures by plain hand-made features and logistic regression")
    .requiredOption("--request <file>", 'JSON: {"train": [{"file", "label": "good" | "bad"}], "test": [file]}')
    .option("--json", "print {scores: [probability of bad]} as JSON")
    .action(async ({ request, json }: { request: string; json?: boolean }) => {
      const parsed = await readJsonFile(BaselineRequest, request);
      const scores = await baselineScores(parsed);
      if (json) process.stdout.write(`${JSON.stringify({ scores })}\n`);
      else for (const [i, score] of scores.entries()) process.stdout.write(`${score.toFixed(4)}  ${parsed.test[i]}\n`);
    });
}
