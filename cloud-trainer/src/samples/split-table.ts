/**
 * A split as a table that `kenpin data` opens again: one row a picture, with all that is known of it but its ground truth.
 * In: a set whose keys are paths, and a split of it. Out: CSV text; it belongs into the set's own folder, where its paths begin.
 */
import { KenpinError } from "@kenpin/schema";
import type { Picture, PictureSet } from "./picture.ts";
import type { Split } from "./split.ts";

const COLUMNS = ["path", "label", "defect", "group", "split", "probability", "reason", "caption"] as const;

export function splitTable({ root }: PictureSet, { train, test }: Split): string {
  if (root === null) {
    throw new KenpinError(
      "split-without-paths",
      "pictures in shards have no paths to name in a table; split the set first, then make shards of it",
    );
  }
  const rows = [...train.map((picture) => rowsOf(picture, "train")), ...test.map((picture) => rowsOf(picture, "test"))].flat();
  return `${[COLUMNS.join(","), ...rows].join("\n")}\n`;
}

/** One row a caption. */
function rowsOf({ key, label, defect, group, drawProbability, reason, captions }: Picture, split: "train" | "test"): string[] {
  const known = [key, label, defect, group, split, drawProbability, reason];
  return (captions.length > 0 ? captions : [null]).map((caption) => [...known, caption].map(cell).join(","));
}

function cell(value: string | number | null): string {
  const text = String(value ?? "");
  return /[",\n\r]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
