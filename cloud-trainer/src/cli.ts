/**
 * `kenpin`: the trainer's and the hub's command line. One file a command under commands/; an error is one line, exit code 1.
 */
import { errorLine } from "@kenpin/schema";
import { Command } from "commander";

const program = new Command("kenpin")
  .description("Visual inspection from words: trainer, hub and model tools")
  .version("0.1.0")
  .showHelpAfterError();

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`kenpin: ${errorLine(error)}\n`);
  process.exitCode = 1;
}
