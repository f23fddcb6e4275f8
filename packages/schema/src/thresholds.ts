/** thresholds.json of a bundle: where a score passes, fails, or is left to a person. */
import { z } from "zod";
import { Probability } from "./primitives.ts";

/** Score ≥ `fail` fails, score < `pass` passes, between them is unknown. */
export const Thresholds = z.strictObject({
  pass: Probability,
  fail: Probability,
  /** The single cut that accuracy is reported at; lies between the two. */
  cut: Probability,
  chosenBy: z.string().max(300),
});
export type Thresholds = z.infer<typeof Thresholds>;
