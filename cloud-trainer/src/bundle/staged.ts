/**
 * A bundle's contents before anybody signed them: a folder of files and what the manifest will say of them.
 * Whoever holds the signing key (the hub) adds name, release, dates and lineage and seals it; a trainer never holds a key.
 */
import { BundleManifest } from "@kenpin/schema";
import type { z } from "zod";

/** The part of the manifest that follows from the files; golden images are named relative to the folder. */
export const StagedManifest = BundleManifest.pick({
  precision: true,
  minAgentVersion: true,
  preprocess: true,
  scoring: true,
  parameters: true,
  golden: true,
  provenance: true,
});
export type StagedManifest = z.infer<typeof StagedManifest>;
