/** `kenpin report`: one page for the decision after a proof of concept, from evaluations, targets and prices. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { progressLine } from "@kenpin/page/progress";
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";

const Options = z.strictObject({
  sheet: z.string().min(1),
  out: z.string().min(1),
  bundle: z.string().min(1).optional(),
  data: z.string().min(1).optional(),
  pictures: z.coerce.number().int().min(1).max(60).default(12),
  language: z.enum(["en", "ja"]).default("en"),
  json: z.boolean().default(false),
});

export function reportCommand(): Command {
  return new Command("report")
    .description("write a page for a decision: figures, targets, total cost, licences, and what was not measured")
    .requiredOption("--sheet <file.yaml>", "variants with their evaluations (kenpin evaluate --json), targets, prices")
    .requiredOption("--out <file.html>", "the page, in one file")
    .option("--bundle <path>", "for licences, the cost of training, and maps")
    .option("--data <set>", "with --bundle: pictures of this set are shown in the page, with their maps")
    .option("--pictures <n>", "how many", "12")
    .option("--language <code>", "en or ja", "en")
    .option("--json", "print {report, bytes} as JSON")
    .action(async (given: unknown) => {
      const { json, out, ...job } = parseAtDoor(Options, given, "kenpin report");
      if (job.data !== undefined && job.bundle === undefined) {
        throw new KenpinError(
          "invalid-input",
          "--data needs --bundle, which draws the maps; name both, or neither for a page without pictures",
        );
      }
      const { makeReport } = await import("../make-report.ts");
      const onNote = (line: string) => process.stderr.write(`${line}\n`);
      const page = await makeReport({ ...job, now: new Date(), onProgress: progressLine("pictures"), onNote });
      await mkdir(dirname(out), { recursive: true });
      await writeFile(out, page);
      process.stdout.write(
        json ? `${JSON.stringify({ report: out, bytes: Buffer.byteLength(page) })}\n` : `${out}: open it in a browser\n`,
      );
    });
}
