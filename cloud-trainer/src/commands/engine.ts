/** `kenpin engine`: what trains. `tfjs` comes with kenpin; `torch` is installed on request, for GPUs. */
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";

const Install = z.strictObject({ index: z.string().min(1).max(2048).optional(), cuda: z.boolean().default(false) });

export function engineCommand(): Command {
  const install = new Command("install")
    .description("install an engine: torch, into a virtual environment of its own")
    .argument("<name>", "torch")
    .option("--index <url>", "a package index to take PyTorch from: for processors only, or for another CUDA")
    .option("--cuda", "fail unless a GPU can be used afterwards")
    .action(async (name: string, given: unknown) => {
      needTorch(name);
      const { installTorch } = await import("../train/engines/torch/install.ts");
      const options = parseAtDoor(Install, given, "kenpin engine install");
      const found = await installTorch({ ...options, onProgress: (line) => process.stderr.write(`${line}\n`) });
      process.stdout.write(`${described(found)}, in ${found.dir}\n`);
    });
  const show = new Command("show")
    .description("say what the engine torch has here")
    .argument("<name>", "torch")
    .action(async (name: string) => {
      needTorch(name);
      const { showTorch } = await import("../train/engines/torch/install.ts");
      process.stdout.write(`${described(await showTorch())}\n`);
    });
  return new Command("engine").description("install or show what recipes are trained with").addCommand(install).addCommand(show);
}

function needTorch(name: string): void {
  if (name !== "torch")
    throw new KenpinError("invalid-input", `the engine ${name} is not known; torch can be installed, tfjs comes with kenpin`);
}

function described({ torch, cuda, gpus, python }: { torch: string; cuda: string | null; gpus: number; python: string }): string {
  const device = gpus > 0 ? `${gpus} GPU${gpus > 1 ? "s" : ""}, CUDA ${cuda}` : "no GPU: it trains on the processor";
  return `PyTorch ${torch}, Python ${python}, ${device}`;
}
