/** `kenpin tune`: retrains on a run folder's labelled frames; prints one line of progress as JSON at a time. */
import { Command } from "commander";
import { tune } from "../tune.ts";

/** Often enough for a live curve, seldom enough for a pipe. */
const TELL_EVERY_MS = 250;

export function tuneCommand(): Command {
  return new Command("tune")
    .description("retrain on labelled frames: job.json in the run folder says which; the hub starts this")
    .requiredOption("--run <dir>", "run folder")
    .action(async ({ run }: { run: string }) => {
      let [stage, toldAt] = ["", 0];
      const tell = (progress: { stage: string }) => {
        if (progress.stage === stage && Date.now() - toldAt < TELL_EVERY_MS) return;
        [stage, toldAt] = [progress.stage, Date.now()];
        process.stdout.write(`${JSON.stringify(progress)}\n`);
      };
      await tune(run, tell, (line) => process.stderr.write(`${line}\n`));
    });
}
