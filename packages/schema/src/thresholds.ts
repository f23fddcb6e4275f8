/** thresholds.json of a bundle: where a score passes, fails, or is left to a person. */
import { z } from "zod";
import { Probability } from "./primitives.ts";

/** What was promised of one label's parts, drawn as the calibration samples were. */
const LabelPromise = z.strictObject({
  /** At most this share of the label's parts is taken for the other. */
  alpha: Probability,
  kept: z.boolean(),
  samples: z.int().min(0),
  /** Randomly drawn, labelled samples of this label that are still wanting for the promise. */
  missing: z.int().min(0),
});

/**
 * conformal: both labels promised, or one of them. good-only: a tolerance limit by order statistics of good frames. normal-limit: the
 * same by a normal distribution nobody checked, while frames are few. none: nothing is promised, the cuts are as they were.
 */
export const ThresholdPromise = z.strictObject({
  method: z.enum(["conformal", "good-only", "normal-limit", "none"]),
  /** Of a bad part that passes, and of a good part that fails. */
  bad: LabelPromise,
  good: LabelPromise,
  /** Each label's promise holds of this very calibration with this confidence; null: on average over calibrations. */
  confidence: Probability.nullable(),
  /** Share of parts, of either label, whose prediction set holds the truth; null where it cannot be promised. */
  coverage: Probability.nullable(),
  /** Exemplars taught when the samples were scored; with more or fewer of them nothing is promised. */
  references: z.int().min(0).default(0),
});
export type ThresholdPromise = z.infer<typeof ThresholdPromise>;

/** Score ≥ `fail` fails, score < `pass` passes, between them is unknown. */
export const Thresholds = z.strictObject({
  pass: Probability,
  fail: Probability,
  /** The single cut that accuracy is reported at; lies between the two. */
  cut: Probability,
  chosenBy: z.string().max(300),
  promise: ThresholdPromise.optional(),
});
export type Thresholds = z.infer<typeof Thresholds>;
