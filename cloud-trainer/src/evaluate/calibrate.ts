/**
 * Gives a staged bundle the cuts that its own scores of calibration frames allow, with their promise. In: the bundle's files and
 * randomly drawn, labelled frames that taught nothing and judge nothing. Out: its thresholds, in its folder too. Too few frames
 * leave the cuts as they were, and the thresholds say how many are wanting.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chooseThresholds, WANTED } from "@kenpin/inspector";
import { parseAtDoor, Thresholds } from "@kenpin/schema";
import { type HeldOutFrame, type StagedBundle, scoreFrames } from "./score-frames.ts";

export async function calibrate(
  bundle: StagedBundle,
  frames: readonly HeldOutFrame[],
  onProgress: (done: number) => void,
): Promise<Thresholds> {
  const file = join(bundle.stagedDir, "thresholds.json");
  const current = parseAtDoor(Thresholds, JSON.parse(await readFile(file, "utf8")), file);
  const scores = frames.length > 0 ? await scoreFrames(bundle, frames, onProgress) : [];
  const of = (label: HeldOutFrame["label"]) => scores.filter((_, i) => frames[i]?.label === label);
  const chosen = chooseThresholds({ good: of("good"), bad: of("bad") }, current, { ...WANTED, learned: true });
  await writeFile(file, `${JSON.stringify(chosen, null, 2)}\n`);
  return chosen;
}
