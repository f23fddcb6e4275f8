/**
 * What an agent says of one camera's drift: whether the frames of now come from the distribution of a reference that was taken on the
 * line, and which figure moved most. The reference is taken anew when what decides changes (a changeover, a teaching, a new bundle)
 * and when a paused camera is resumed. Retained: the newest one stands for the camera.
 */
import { z } from "zod";
import { Name, Probability, Sha256, Timestamp } from "./primitives.ts";

export const DRIFT_VERSION = 1;

/** What of a frame is compared; scores as log-odds, contrast and sharpness as logarithms, colours as what red and blue exceed green by. */
export const DriftFigureName = z.enum([
  "score",
  "words",
  "references",
  "strangeness",
  "brightness",
  "contrast",
  "sharpness",
  "red",
  "blue",
]);
export type DriftFigureName = z.infer<typeof DriftFigureName>;

const Quantiles = z.strictObject({ p05: z.number(), p50: z.number(), p95: z.number() });

export const DriftFigure = z.strictObject({
  name: DriftFigureName,
  /** Population stability index over fifths of the reference; about 0.1 where nothing moved, since a window is small. */
  stability: z.number().min(0),
  reference: Quantiles,
  window: Quantiles,
});
export type DriftFigure = z.infer<typeof DriftFigure>;

export const DriftState = z.enum(["gathering", "steady", "drifting"]);
export type DriftState = z.infer<typeof DriftState>;

export const Drift = z.strictObject({
  schemaVersion: z.literal(DRIFT_VERSION),
  site: Name,
  line: Name,
  agent: Name,
  camera: Name,
  bootId: z.uuid(),
  at: Timestamp,
  /** gathering: there is no whole reference yet, so nothing is said. */
  state: DriftState,
  /** When this state began, and when the reference was whole. */
  since: Timestamp,
  referenceAt: Timestamp.nullable(),
  frames: z.strictObject({ reference: z.int().min(0), window: z.int().min(0) }),
  /** Of the last whole window; null before one. */
  test: z
    .strictObject({
      /** Squared maximum mean discrepancy. */
      mmd2: z.number(),
      p: Probability,
      /** At or below this p a window alarms; small enough that at most `shiftAlarmRate` of shifts without a change do. */
      alpha: Probability,
      shiftAlarmRate: Probability,
    })
    .nullable(),
  /** The one that moved most first. */
  figures: z.array(DriftFigure).max(DriftFigureName.options.length),
  bundle: Sha256,
  settings: Sha256,
});
export type Drift = z.infer<typeof Drift>;
