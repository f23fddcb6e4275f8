/** `kenpin pull`: a published checkpoint from a model hub, resumable; the token comes from the environment only. */
import { setTimeout as wait } from "node:timers/promises";
import { parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";

const Options = z.strictObject({
  out: z.string().min(1),
  revision: z.string().min(1).max(100),
  hubUrl: z.url({ protocol: /^https?$/, error: "an http or https address" }).optional(),
  file: z.string().min(1).max(200).optional(),
  json: z.boolean().default(false),
});
const PROGRESS_EVERY_MS = 1000;

export function pullCommand(): Command {
  return new Command("pull")
    .description("fetch a published checkpoint; HF_TOKEN in the environment is used where it is set")
    .argument("<model>", "a published model's name, e.g. EVA02-B-16, or a hub id owner/name")
    .requiredOption("--out <dir>", "folder for the files; a pull that was cut short is continued there")
    .option("--revision <commit>", "branch, tag or commit", "main")
    .option("--hub-url <url>", "another hub, e.g. a mirror inside the factory; HF_ENDPOINT in the environment means the same")
    .option("--file <name>", "one file, where the repository holds several checkpoints")
    .option("--json", "print what was fetched as JSON")
    .action(async (model: string, given: unknown) => {
      const mirror = process.env["HF_ENDPOINT"] ? { hubUrl: process.env["HF_ENDPOINT"] } : {};
      const { json, ...options } = parseAtDoor(Options, { ...mirror, ...(given as object) }, "kenpin pull");
      const { pull } = await import("../import/pull.ts");
      const stop = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
      const token = process.env["HF_TOKEN"] || undefined;
      const pulled = await pull({ model, ...options, token, onProgress: progress(), wait, signal: stop.signal });
      if (json) process.stdout.write(`${JSON.stringify(pulled)}\n`);
      else
        process.stdout.write(
          `${pulled.id} at ${pulled.revision}, licence ${pulled.licence}: ${pulled.files.map(({ path }) => path).join(", ")}\n`,
        );
    });
}

/** One line a second on stderr, and one at the end. */
function progress(): (now: { file: string; bytes: number; bytesTotal: number }) => void {
  let said = 0;
  return ({ file, bytes, bytesTotal }) => {
    if (bytes < bytesTotal && Date.now() - said < PROGRESS_EVERY_MS) return;
    said = Date.now();
    const percent = bytesTotal > 0 ? (100 * bytes) / bytesTotal : 100;
    process.stderr.write(`${file}: ${(bytes / 1e6).toFixed(1)} of ${(bytesTotal / 1e6).toFixed(1)} MB (${percent.toFixed(0)} %)\n`);
  };
}
