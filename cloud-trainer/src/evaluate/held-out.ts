/**
 * Judges a staged bundle on held-out frames through the inspector that a device runs, with words alone.
 * In: the bundle's files and labelled frames that no step of the training saw. Out: how many, and the AUROC (null where
 * only one of the two labels is among them).
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startInspector } from "@kenpin/inspector";
import type { Preprocess, Scoring } from "@kenpin/schema";
import { auroc } from "@kenpin/stats";

export type HeldOutFrame = { file: string; label: "good" | "bad" };
export type StagedBundle = { stagedDir: string; manifest: { precision: string; preprocess: Preprocess; scoring: Scoring } };

export async function judgeHeldOut(
  { stagedDir, manifest: { precision, preprocess, scoring } }: StagedBundle,
  frames: readonly HeldOutFrame[],
  onProgress: (done: number) => void,
): Promise<{ images: number; auroc: number | null }> {
  const labels = frames.map(({ label }) => (label === "bad" ? 1 : 0));
  if (new Set(labels).size < 2) return { images: frames.length, auroc: null };
  const manifest = join(stagedDir, "manifest.json");
  await writeFile(manifest, JSON.stringify({ precision, preprocess, scoring }));
  const inspector = await startInspector({ bundleDir: stagedDir });
  try {
    const scores: number[] = [];
    for (const { file } of frames) {
      scores.push((await inspector.inspect(await readFile(file))).inspection.score);
      onProgress(scores.length);
    }
    return { images: frames.length, auroc: auroc(scores, labels) };
  } finally {
    await inspector.close();
    await rm(manifest);
  }
}
