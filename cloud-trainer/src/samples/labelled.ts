/**
 * Labelled frames collected at the edge, read for training: bytes checked against their digest, then decoded.
 * Only randomly drawn frames may be held out: frames sent because they looked odd say nothing of what the line makes, so
 * they train and never judge. Which frames are held out follows from their digests, so nobody can choose them.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { decodeImage, type RgbImage } from "@kenpin/clip";
import { errorLine } from "@kenpin/schema";

export type LabelledSample = { file: string; sha256: string; label: "good" | "bad"; reason: string };
export type LabelledFrame = LabelledSample & { image: RgbImage };

/** One random frame in three judges; the rest learn. */
const HELD_OUT_ONE_IN = 3;

export async function readLabelled(samples: readonly LabelledSample[], onProblem: (line: string) => void): Promise<LabelledFrame[]> {
  const frames: LabelledFrame[] = [];
  const seen = new Set<string>();
  for (const sample of samples) {
    if (seen.has(sample.sha256)) continue;
    seen.add(sample.sha256);
    try {
      const bytes = await readFile(sample.file);
      if (createHash("sha256").update(bytes).digest("hex") !== sample.sha256) throw new Error("its bytes are not those that were labelled");
      frames.push({ ...sample, image: await decodeImage(bytes) });
    } catch (error) {
      onProblem(`sample ${sample.sha256.slice(0, 12)} is left out: ${errorLine(error)}`);
    }
  }
  return frames;
}

export function holdOut<T extends Pick<LabelledSample, "sha256" | "reason">>(frames: readonly T[]): { learn: T[]; judge: T[] } {
  const isHeldOut = ({ sha256, reason }: T) => reason === "random" && Number.parseInt(sha256.slice(0, 8), 16) % HELD_OUT_ONE_IN === 0;
  return { learn: frames.filter((frame) => !isHeldOut(frame)), judge: frames.filter(isHeldOut) };
}
