/**
 * manifest.json of a .kenpin bundle: one tar of this file, its detached signature (manifest.jws, EdDSA) and the files
 * it lists. Nothing is opened before its digest here is checked. A bundle's own digest is the sha256 of manifest.json.
 */
import { z } from "zod";
import { Probability, Sha256, Timestamp } from "./primitives.ts";
import { Scoring } from "./scoring.ts";

export const BUNDLE_FORMAT = 1;

/** How a frame becomes tiles for the image tower; see @kenpin/clip. */
export const Preprocess = z.strictObject({
  /** Input side of the image tower in pixels. */
  tilePx: z.int().min(16).max(1024),
  /** Tiles overlap at least this much, so that no defect lies on a seam. */
  overlapPx: z.int().min(0),
  /** A frame needing more tiles is shrunk until it does not. */
  maxTiles: z.int().min(1).max(256),
  mean: z.tuple([z.number(), z.number(), z.number()]),
  std: z.tuple([z.number(), z.number(), z.number()]),
});
export type Preprocess = z.infer<typeof Preprocess>;

export const Golden = z.strictObject({
  file: z.string(),
  score: Probability,
  /** The largest difference a device may show; covers other processors' rounding, not another model. */
  tolerance: z.number().positive(),
});
export type Golden = z.infer<typeof Golden>;

/** Every weight's and data set's licence and origin, so that what may be used where is on record. */
export const Provenance = z.strictObject({ name: z.string(), licence: z.string(), source: z.string(), sha256: Sha256.optional() });

export const BundleManifest = z.strictObject({
  format: z.literal(BUNDLE_FORMAT),
  name: z.string().min(1).max(100),
  release: z.int().min(1),
  createdAt: Timestamp,
  expiresAt: Timestamp,
  keyId: z.string().min(1).max(100),
  minAgentVersion: z.string(),
  precision: z.enum(["fp32", "fp16", "int8"]),
  preprocess: Preprocess,
  scoring: Scoring,
  parameters: z.int().min(1),
  files: z.record(
    z.string().regex(/^[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*)?$/, "lower-case names, at most one folder deep"),
    z.strictObject({ sha256: Sha256, bytes: z.int().min(0) }),
  ),
  golden: z.array(Golden).min(1).max(32),
  lineage: z.strictObject({
    run: z.string(),
    parent: Sha256.nullable(),
    data: z.array(z.strictObject({ name: z.string(), sha256: Sha256, images: z.int().min(0) })),
    recipe: Sha256,
  }),
  provenance: z.array(Provenance).min(1),
});
export type BundleManifest = z.infer<typeof BundleManifest>;
