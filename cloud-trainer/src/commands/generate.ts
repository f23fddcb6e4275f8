/** `kenpin generate`: captioned surfaces with masks, written as a shard that an engine can map. */
import { modelConfig } from "@kenpin/clip";
import { parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import { writeSurfaceShard } from "../samples/surface-shard.ts";

const Options = z.strictObject({
  out: z.string(),
  model: z.string(),
  count: z.coerce.number().int().min(1).max(10_000_000),
  seed: z.coerce.number().int().min(0),
});

export function generateCommand(): Command {
  return new Command("generate")
    .description("write captioned, partly defective surfaces with masks, made by a seeded generator")
    .requiredOption("--out <folder>", "where the shard is written")
    .option("--model <name>", "model whose input size and vocabulary are used", "kenpin-s-8")
    .option("--count <n>", "how many surfaces", "10000")
    .option("--seed <n>", "the same seed makes the same surfaces", "1")
    .action((given) => {
      const { out, model, count, seed } = parseAtDoor(Options, given, "generate");
      const startedAt = Date.now();
      writeSurfaceShard({ config: modelConfig(model), out, seed, count }, (done) => {
        const left = ((Date.now() - startedAt) / 1000) * (count / done - 1);
        process.stderr.write(`${done} of ${count} surfaces, ${Math.ceil(left)} s left\n`);
      });
    });
}
