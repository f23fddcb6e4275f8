/**
 * manifest.json of a .kenpin bundle: one tar of this file, its detached signature (manifest.jws, EdDSA) and the files
 * it lists. Nothing is opened before its digest here is checked. A bundle's own digest is the sha256 of manifest.json.
 */
import { z } from "zod";
import { Probability, Sha256, Timestamp } from "./primitives.ts";

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

export const PromptSet = z.strictObject({
  schemaVersion: z.literal(1),
  good: z.array(z.string().min(1).max(300)).min(1).max(256),
  bad: z.array(z.string().min(1).max(300)).min(1).max(256),
  /** Row-major [good + bad, dim], L2-normalised, in the order above. */
  dim: z.int().min(1),
  embeddings: z.array(z.number()),
  /** exp(logit scale) of the model these were made with. */
  logitScale: z.number().positive(),
});
export type PromptSet = z.infer<typeof PromptSet>;

/** Score ≥ `fail` fails, score < `pass` passes, between them is unknown. */
export const Thresholds = z.strictObject({
  pass: Probability,
  fail: Probability,
  /** The single cut that accuracy is reported at; lies between the two. */
  cut: Probability,
  chosenBy: z.string().max(300),
});
export type Thresholds = z.infer<typeof Thresholds>;

/**
 * How patch similarities become one defect score; chosen where the model was made, so that a device computes nothing else.
 * text logit  t = textScale · ((1 − imageWeight) · mean of the highest `topRatio` patch logits + imageWeight · image logit) + textBias
 * bank logit  b = bankScale · (z − bankCut), z = distance to the memory bank in deviations of the good references
 * score         = sigmoid(t) with words alone, sigmoid((1 − bankWeight) · t + bankWeight · b) with references;
 * with `recentreText` and references: sigmoid(bankScale · (r − bankCut)), where r is the mix (1 − bankWeight) · tz +
 * bankWeight · z of both in deviations of the good references (tz: the text value), itself in the references' deviations.
 */
export const Scoring = z.strictObject({
  topRatio: z.number().positive().max(1),
  imageWeight: Probability,
  textScale: z.number().positive(),
  textBias: z.number(),
  bankWeight: Probability,
  bankScale: z.number().positive(),
  bankCut: z.number(),
  recentreText: z.boolean(),
});
export type Scoring = z.infer<typeof Scoring>;

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
