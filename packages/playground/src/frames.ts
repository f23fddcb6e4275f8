/**
 * The frames the line camera plays, and which of them nobody may learn from.
 * In: a folder in MVTec layout (good/, and one folder a kind of defect). Out: the unseen frames (those with the lowest
 * sha256 of each kind) and the seen ones. The split rests on the bytes alone, so no one can choose it.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { KenpinError } from "@kenpin/schema";

export type Frame = {
  file: string;
  sha256: string;
  kind: string;
  label: "good" | "bad";
};
export type Split = { unseen: Frame[]; seen: Frame[] };

/** How many frames of each kind stay unseen: half of them good, so that accuracy needs no weighting. */
const UNSEEN = { good: 40, defect: 20 };

export function splitFrames(folder: string): Split {
  const split: Split = { unseen: [], seen: [] };
  for (const kind of kindsIn(folder)) {
    const frames = framesIn(folder, kind).sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
    const held = kind === "good" ? UNSEEN.good : UNSEEN.defect;
    split.unseen.push(...frames.slice(0, held));
    split.seen.push(...frames.slice(held));
  }
  return split;
}

function kindsIn(folder: string): string[] {
  const found = statSync(folder, { throwIfNoEntry: false });
  if (!found?.isDirectory()) {
    throw new KenpinError("no-frames", `${folder} is no folder; give one that holds good/ and one folder a kind of defect`);
  }
  const kinds = readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  if (!kinds.includes("good"))
    throw new KenpinError("no-good-frames", `${folder} has no folder "good"; expected good/ and one folder a defect`);
  return kinds.sort();
}

function framesIn(folder: string, kind: string): Frame[] {
  return readdirSync(join(folder, kind))
    .filter((name) => /\.(jpe?g|png)$/i.test(name))
    .map((name) => {
      const file = join(folder, kind, name);
      return {
        file,
        kind,
        label: kind === "good" ? "good" : "bad",
        sha256: createHash("sha256").update(readFileSync(file)).digest("hex"),
      };
    });
}
