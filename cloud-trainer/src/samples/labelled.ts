/**
 * Labelled frames collected at the edge, read for training: bytes checked against their digest, then decoded.
 * Only randomly drawn frames may be held out: frames sent because they looked odd say nothing of what the line makes, so
 * they train and never judge. Which frames are held out follows from their digests, so nobody can choose them.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { decodeImage, type RgbImage } from "@kenpin/clip";
import { errorLine } from "@kenpin/schema";
import { mayJudge } from "./for-judging.ts";

export type LabelledSample = { file: string; sha256: string; label: "good" | "bad"; reason: string; drawProbability: number };
export type LabelledFrame = LabelledSample & { image: RgbImage };

/** One random frame in three judges; the rest learn. */
const HELD_OUT_ONE_IN = 3;
/** Below this many held-out frames halves of them promise nothing and judge badly. */
const FEWEST_TO_CALIBRATE = 60;
/** Frames are held decoded, three bytes a pixel, for as long as the training runs. */
const RAW_LIMIT_BYTES = 2 * 1024 ** 3;

export async function readLabelled(samples: readonly LabelledSample[], onProblem: (line: string) => void): Promise<LabelledFrame[]> {
  const frames: LabelledFrame[] = [];
  const distinct = new Map(samples.map((sample) => [sample.sha256, sample]));
  let rawBytes = 0;
  let leftOut = 0;
  // By digest: which frames stay out when there are too many says nothing of what they show.
  for (const sample of [...distinct.values()].sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1))) {
    if (rawBytes > RAW_LIMIT_BYTES) {
      leftOut++;
      continue;
    }
    try {
      const bytes = await readFile(sample.file);
      if (createHash("sha256").update(bytes).digest("hex") !== sample.sha256) throw new Error("its bytes are not those that were labelled");
      const image = await decodeImage(bytes);
      rawBytes += image.data.length;
      frames.push({ ...sample, image });
    } catch (error) {
      onProblem(`sample ${sample.sha256.slice(0, 12)} is left out: ${errorLine(error)}`);
    }
  }
  if (leftOut > 0) onProblem(`${leftOut} frames are left out: those read fill ${RAW_LIMIT_BYTES / 1024 ** 3} GiB already`);
  return frames;
}

/**
 * Frames that teach, frames that set the cuts, and frames that judge what came of it. Cuts are set by frames of one chance of being
 * drawn, the commonest, since a promise for the line needs each of its parts to have had the same; and only once there are so
 * many that both halves of what is held out can say something.
 */
export function holdOut<T extends Pick<LabelledSample, "sha256" | "reason" | "drawProbability">>(
  frames: readonly T[],
): { learn: T[]; calibrate: T[]; judge: T[] } {
  const place = (frame: T) => Number.parseInt(frame.sha256.slice(0, 8), 16);
  const isHeldOut = (frame: T) => mayJudge(frame) && place(frame) % HELD_OUT_ONE_IN === 0;
  const learn = frames.filter((frame) => !isHeldOut(frame));
  const heldOut = frames.filter(isHeldOut);
  if (heldOut.length < FEWEST_TO_CALIBRATE) return { learn, calibrate: [], judge: heldOut };
  const chance = commonest(heldOut.map(({ drawProbability }) => drawProbability));
  const calibrates = (frame: T) => frame.drawProbability === chance && Math.floor(place(frame) / HELD_OUT_ONE_IN) % 2 === 0;
  return { learn, calibrate: heldOut.filter(calibrates), judge: heldOut.filter((frame) => !calibrates(frame)) };
}

function commonest(values: readonly number[]): number | undefined {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}
