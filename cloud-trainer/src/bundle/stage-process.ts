/**
 * Stages words through `kenpin stage` in a process of its own, since it loads a whole training engine.
 * In: model folder, words, seed. Out: the bundle's files in `outDir`, and what its manifest will say of them.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import type { StageWords } from "./shelf.ts";
import { StagedManifest } from "./staged.ts";

/** Runs one `kenpin` command; answers with the lines it printed. */
export type RunCommand = (args: string[]) => Promise<string[]>;

export function stageInProcess(run: RunCommand): StageWords {
  return async ({ modelDir, words, outDir, seed }) => {
    const wordsFile = `${outDir}.words.json`;
    await mkdir(outDir, { recursive: true });
    await writeFile(wordsFile, JSON.stringify(words));
    const lines = await run(["stage", "--model", modelDir, "--words", wordsFile, "--out", outDir, "--seed", String(seed)]);
    return parseAtDoor(StagedManifest, parseLast(lines), "the staged manifest");
  };
}

function parseLast(lines: string[]): unknown {
  try {
    return JSON.parse(lines.at(-1) ?? "");
  } catch {
    throw new KenpinError("stage-failed", "the staging process ended well but printed no manifest; its log says more");
  }
}
