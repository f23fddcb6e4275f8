/** `kenpin train-base`: a base model from generated surfaces on this machine's processor; the same stage on a GPU is torch/kenpin_torch/base.py. */
import { parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import { trainBase } from "../pretrain-base.ts";

const Options = z.strictObject({
  model: z.string(),
  out: z.string(),
  seconds: z.coerce.number().min(1),
  surfaces: z.coerce.number().int().min(64).max(1_000_000),
  batch: z.coerce.number().int().min(2).max(4096),
  rate: z.coerce.number().positive().max(1),
  seed: z.coerce.number().int().min(0),
});

export function trainBaseCommand(): Command {
  return new Command("train-base")
    .description("train a base model on captioned surfaces made here; then choose its scoring rule with kenpin score")
    .requiredOption("--out <dir>", "weights' folder to write")
    .option("--model <name>", "configuration", "kenpin-s-8")
    .option("--seconds <n>", "time for the training itself", "3600")
    .option("--surfaces <n>", "how many surfaces to make", "20000")
    .option("--batch <n>", "pictures a step", "128")
    .option("--rate <n>", "peak learning rate", "0.012")
    .option("--seed <n>", "seed of surfaces, weights and order", "1")
    .action(async (given: unknown) => {
      const { surfaces, ...options } = parseAtDoor(Options, given, "kenpin train-base");
      await trainBase({ ...options, pool: surfaces }, (line) => process.stderr.write(`${line}\n`));
    });
}
