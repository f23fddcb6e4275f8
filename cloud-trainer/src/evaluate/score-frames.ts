/** Scores labelled frames through the inspector that a device runs, on a staged bundle's own files, with words alone. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startInspector } from "@kenpin/inspector";
import type { Preprocess, Scoring } from "@kenpin/schema";

export type HeldOutFrame = { file: string; label: "good" | "bad" };
export type StagedBundle = { stagedDir: string; manifest: { precision: string; preprocess: Preprocess; scoring: Scoring } };

/** One score a frame, in [0, 1], in the frames' order. */
export async function scoreFrames(
  { stagedDir, manifest: { precision, preprocess, scoring } }: StagedBundle,
  frames: readonly HeldOutFrame[],
  onProgress: (done: number) => void,
): Promise<number[]> {
  const manifest = join(stagedDir, "manifest.json");
  // An inspector reads a manifest, which is only whole once the bundle is sealed: it gets the part that decides.
  await writeFile(manifest, JSON.stringify({ precision, preprocess, scoring }));
  const inspector = await startInspector({ bundleDir: stagedDir });
  try {
    const scores: number[] = [];
    for (const { file } of frames) {
      scores.push((await inspector.inspect(await readFile(file))).inspection.score);
      onProgress(scores.length);
    }
    return scores;
  } finally {
    await inspector.close();
    await rm(manifest);
  }
}
