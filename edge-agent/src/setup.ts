/** What decides: one installed bundle and the labelled frames it is taught from. Replaced whole, never changed. */
import type { BundleManifest, PartSheet, PromptSet, Thresholds } from "@kenpin/schema";

/** A frame on this device and what somebody said of it. */
export type Reference = { sha256: string; file: string; label: "good" | "bad" };

/** Words and thresholds chosen on this device in place of the bundle's own; `version` is null until they are kept. */
export type Chosen = { prompts: PromptSet; sheet: PartSheet | null; thresholds: Thresholds; version: number | null };

export type Setup = {
  /** The bundle's digest, and the folder it was unpacked into. */
  bundle: string;
  folder: string;
  /** The folder an inspector opens: the bundle's own, or one like it with other words. */
  wordsFolder: string;
  manifest: BundleManifest;
  thresholds: Thresholds;
  /** sha256 over words, thresholds and reference digests: with the bundle it says exactly what decided. */
  settings: string;
  references: readonly Reference[];
};
