/** What decides: one installed bundle and the reference frames its memory bank is taught from. Replaced whole, never changed. */
import type { BundleManifest, Thresholds } from "@kenpin/schema";

export type Setup = {
  /** The bundle's digest, and the folder it was unpacked into. */
  bundle: string;
  folder: string;
  manifest: BundleManifest;
  thresholds: Thresholds;
  /** sha256 over words, thresholds and reference digests: with the bundle it says exactly what decided. */
  settings: string;
  references: readonly { sha256: string; file: string }[];
};
