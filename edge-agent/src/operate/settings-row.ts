/** A version of settings as the database keeps it, with what people see of it in a list, so that no file is opened to show one. */
import type { Settings, SettingsRow } from "@kenpin/schema";

export type Row = {
  version: number;
  digest: string;
  bundle: string;
  set_id: string;
  before: number;
  file: string;
  made_by: string;
  made_at: string;
  signed_by: SettingsRow["signedBy"];
  summary: string;
};
type Summary = Pick<SettingsRow, "good" | "bad" | "words" | "cut">;

const WORDS_SHOWN = 12;

export function summaryOf({ prompts, references, thresholds }: Settings): string {
  const count = (label: string) => references.filter((frame) => frame.label === label).length;
  const first = prompts.good.length;
  const words = (prompts.words ?? [...prompts.good, ...prompts.bad]).slice(first, first + WORDS_SHOWN);
  const summary: Summary = { good: count("good"), bad: count("bad"), words, cut: thresholds.cut };
  return JSON.stringify(summary);
}

export function shown(row: Row, active: number): SettingsRow {
  const { version, digest, bundle, made_by, made_at, signed_by, summary } = row;
  const parts = JSON.parse(summary) as Summary;
  return { version, settings: digest, bundle, by: made_by, at: made_at, ...parts, signedBy: signed_by, active: version === active };
}
