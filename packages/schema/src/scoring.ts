/** How a device turns similarities into one score and one map; part of a bundle's manifest. */
import { z } from "zod";
import { Probability } from "./primitives.ts";

/**
 * How a map's values become logits of "this patch is defective", 0 being even; chosen on generated surfaces with masks.
 *   words alone      textScale · patch logit + textBias
 *   with references  referenceScale · (max(pz, dz) − referenceCut), where pz is the patch logit and dz the patch's distance to the
 *                    bank, each in deviations of what the references' hottest patches have: on a strange surface one of them
 *                    may be blind, and must not hide what the other sees
 */
export const PatchScoring = z.strictObject({
  textScale: z.number().positive(),
  textBias: z.number(),
  referenceScale: z.number().positive(),
  referenceCut: z.number(),
});
export type PatchScoring = z.infer<typeof PatchScoring>;

/**
 * How patch similarities become one defect score; chosen where the model was made, so that a device computes nothing else.
 * text logit  t = textScale · ((1 − imageWeight) · mean of the highest `topRatio` patch logits + imageWeight · image logit) + textBias
 * bank logit  b = bankScale · (z − bankCut), z = distance to the memory bank in deviations of the good references
 * fused logit f = t with words alone, (1 − bankWeight) · t + bankWeight · b with references;
 * with `recentreText` and references: f = bankScale · (r − bankCut), where r is the mix (1 − bankWeight) · tz +
 * bankWeight · z of both in deviations of the good references (tz: the text value), itself in the references' deviations.
 * score         = sigmoid(f), and with exemplars of both kinds sigmoid(scale · ((1 − share) · f + share · h) + bias), where h is
 * the logit of a small head fitted on the exemplars, and share, scale and bias are chosen on the device by cross-validation:
 * share is 0 where the head tells the exemplars apart no better.
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
  /** Patches whose mean of tokens is held against the bank, along each side; 1 is each patch alone (PatchCore has 3). */
  tokenWindow: z.union([z.literal(1), z.literal(3), z.literal(5)]).default(1),
  patches: PatchScoring.default({ textScale: 1, textBias: 0, referenceScale: 1, referenceCut: 0 }),
});
export type Scoring = z.infer<typeof Scoring>;
