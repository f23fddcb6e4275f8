/**
 * The words that factories and public sets use for good and bad, as folder names and in tables.
 * In: a word. Out: a label, or null where the word is none of these (a folder's name is then its kind of defect).
 */
import type { Picture } from "../picture.ts";

const GOOD = new Set(["good", "ok", "normal", "良品", "正常"]);
const BAD = new Set(["bad", "ng", "defect", "defective", "anomaly", "不良", "不良品", "異常"]);
const UNKNOWN = new Set(["", "unlabelled", "unlabeled", "unsure", "unknown", "未分類"]);

export type Kind = Pick<Picture, "label" | "defect">;

export function labelOf(word: string): Picture["label"] {
  const plain = word.normalize("NFC").trim().toLowerCase();
  if (GOOD.has(plain)) return "good";
  return BAD.has(plain) ? "bad" : null;
}

export function isUnknown(word: string): boolean {
  return UNKNOWN.has(word.normalize("NFC").trim().toLowerCase());
}

/** A folder of pictures: good, bad without saying how, not looked at yet, or bad in the way of its name. */
export function kindOfFolder(name: string): Kind {
  const label = labelOf(name);
  if (label) return { label, defect: null };
  return isUnknown(name) ? { label: null, defect: null } : { label: "bad", defect: name };
}
