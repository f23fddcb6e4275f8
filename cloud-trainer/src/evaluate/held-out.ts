/**
 * Judges a staged bundle on held-out frames. In: the bundle's files and labelled frames that no step of the training saw.
 * Out: how many, and the AUROC (null where only one of the two labels is among them).
 */
import { auroc } from "@kenpin/stats";
import { type HeldOutFrame, type StagedBundle, scoreFrames } from "./score-frames.ts";

export async function judgeHeldOut(
  bundle: StagedBundle,
  frames: readonly HeldOutFrame[],
  onProgress: (done: number) => void,
): Promise<{ images: number; auroc: number | null }> {
  const labels = frames.map(({ label }) => (label === "bad" ? 1 : 0));
  if (new Set(labels).size < 2) return { images: frames.length, auroc: null };
  return { images: frames.length, auroc: auroc(await scoreFrames(bundle, frames, onProgress), labels) };
}
