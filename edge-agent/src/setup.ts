/** What decides: one installed bundle and the labelled frames it is taught from. Replaced whole, never changed. */
import type { BundleManifest, Thresholds } from "@kenpin/schema";

/** A frame on this device and what somebody said of it. */
export type Reference = { sha256: string; file: string; label: "good" | "bad" };

export type Setup = {
  /** The bundle's digest, and the folder it was unpacked into. */
  bundle: string;
  folder: string;
  manifest: BundleManifest;
  thresholds: Thresholds;
  /** sha256 over words, thresholds and reference digests: with the bundle it says exactly what decided. */
  settings: string;
  references: readonly Reference[];
};
