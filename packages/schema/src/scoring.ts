/** How a device turns similarities into one score; part of a bundle's manifest. */
import { z } from "zod";
import { Probability } from "./primitives.ts";

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
