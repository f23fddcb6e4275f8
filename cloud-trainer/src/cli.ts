/**
 * `kenpin`: the trainer's and the hub's command line. One file a command under commands/; an error is one line, exit code 1.
 */
import { errorLine, KenpinError } from "@kenpin/schema";
import { Command } from "commander";
import { baselineCommand } from "./commands/baseline.ts";
import { dataCommand } from "./commands/data.ts";
import { embedCommand } from "./commands/embed.ts";
import { engineCommand } from "./commands/engine.ts";
import { evaluateCommand } from "./commands/evaluate.ts";
import { exportCommand } from "./commands/export.ts";
import { generateCommand } from "./commands/generate.ts";
import { importCommand } from "./commands/import.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { launchCommand } from "./commands/launch.ts";
import { pullCommand } from "./commands/pull.ts";
import { quantizeCommand } from "./commands/quantize.ts";
import { reportCommand } from "./commands/report.ts";
import { scoreCommand } from "./commands/score.ts";
import { serveCommand } from "./commands/serve.ts";
import { stageCommand } from "./commands/stage.ts";
import { thresholdsCommand } from "./commands/thresholds.ts";
import { trainCommand, trainProcessCommand } from "./commands/train.ts";
import { tuneCommand } from "./commands/tune.ts";
import { wordsCommand } from "./commands/words.ts";
import { RECYCLE } from "./train/run-folder.ts";

const program = new Command("kenpin")
  .description("Visual inspection from words: trainer, hub and model tools")
  .version("0.1.0")
  .showHelpAfterError()
  .addCommand(pullCommand())
  .addCommand(importCommand())
  .addCommand(exportCommand())
  .addCommand(embedCommand())
  .addCommand(inspectCommand())
  .addCommand(dataCommand())
  .addCommand(serveCommand())
  .addCommand(stageCommand())
  .addCommand(wordsCommand())
  .addCommand(evaluateCommand())
  .addCommand(baselineCommand())
  .addCommand(generateCommand())
  .addCommand(quantizeCommand())
  .addCommand(scoreCommand())
  .addCommand(reportCommand())
  .addCommand(thresholdsCommand())
  .addCommand(trainCommand())
  .addCommand(trainProcessCommand(), { hidden: true })
  .addCommand(engineCommand())
  .addCommand(launchCommand())
  .addCommand(tuneCommand());

// A command that a hub started ends with it, however the hub ended.
if (process.channel) {
  process.once("disconnect", () => process.exit(1));
  process.channel.unref();
}

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`kenpin: ${errorLine(error)}\n`);
  process.exitCode = error instanceof KenpinError && error.code === RECYCLE.error ? RECYCLE.exitCode : 1;
}
