/** `kenpin launch`: the same recipe on rented machines. Writes a task for another program to run; rents nothing itself. */
import { writeFile } from "node:fs/promises";
import { relative } from "node:path";
import { parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { stringify } from "yaml";
import { readRecipe } from "../recipe/recipe-file.ts";
import { LaunchOptions, skyTask } from "../train/engines/torch/sky-task.ts";

export function launchCommand(): Command {
  return new Command("launch")
    .description("write a task that trains a recipe on rented GPUs: sky jobs launch <file>")
    .argument("<recipe>", "YAML file, below this folder, which is sent along")
    .requiredOption("--target <name>", "skypilot")
    .requiredOption("--out <file>", "the task")
    .option("--gpus <kind:n>", "what to rent", "H100:8")
    .option("--nodes <n>", "so many machines of that kind", "1")
    .option("--bucket <name>", "where the run folder is kept", "kenpin-runs")
    .option("--disk-gb <n>", "disk of the machine", "256")
    .option("--no-spot", "machines that are not taken back")
    .action(async (file: string, given: unknown) => {
      const options = parseAtDoor(LaunchOptions, given, "kenpin launch");
      const recipe = await readRecipe(file);
      await writeFile(options.out, stringify(skyTask(recipe.name, relative(process.cwd(), file), options), { lineWidth: 0 }));
      process.stdout.write(`${options.out}: start it with: sky jobs launch ${options.out}\n`);
    });
}
