/** `kenpin generate`: captioned surfaces with masks, written as a shard that an engine can map, or some of them drawn on one page. */
import { writeFile } from "node:fs/promises";
import { modelConfig } from "@kenpin/clip";
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import { captionFile } from "../samples/caption-file.ts";
import { writeSurfaceShard } from "../samples/surface-shard.ts";
import { surfaceSheet } from "../samples/surface-sheet.ts";

const Options = z.strictObject({
  out: z.string().optional(),
  sheet: z.string().optional(),
  captions: z.string().optional(),
  model: z.string(),
  count: z.coerce.number().int().min(1).max(10_000_000),
  seed: z.coerce.number().int().min(0),
});
/** Surfaces of each family on a sheet. */
const COLUMNS = 12;

export function generateCommand(): Command {
  return new Command("generate")
    .description("make captioned, partly defective surfaces with masks, from a seed")
    .option("--out <folder>", "write a shard for training there")
    .option("--sheet <file.png>", "draw some of every family on one page")
    .option("--captions <file.json>", "write every caption there, for an engine that draws surfaces itself")
    .option("--model <name>", "model whose input size and vocabulary are used", "kenpin-s-8")
    .option("--count <n>", "how many surfaces the shard gets", "10000")
    .option("--seed <n>", "the same seed makes the same surfaces", "1")
    .action(async (given) => {
      const { out, sheet, captions, model, count, seed } = parseAtDoor(Options, given, "generate");
      if (out === undefined && sheet === undefined && captions === undefined)
        throw new KenpinError("invalid-input", "generate needs --out for a shard, --sheet for a page, --captions for a table, or several");
      const config = modelConfig(model);
      if (sheet !== undefined) await writeFile(sheet, await surfaceSheet({ seed, side: config.image.size, columns: COLUMNS }));
      if (captions !== undefined) await writeFile(captions, captionFile(config));
      if (out === undefined) return;
      const startedAt = Date.now();
      writeSurfaceShard({ config, out, seed, count }, (done) => {
        const left = ((Date.now() - startedAt) / 1000) * (count / done - 1);
        process.stderr.write(`${done} of ${count} surfaces, ${Math.ceil(left)} s left\n`);
      });
    });
}
