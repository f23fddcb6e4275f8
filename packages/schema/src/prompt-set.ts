/** prompts.json of a bundle: the words that decide, with their embeddings, so that a device needs no text tower. */
import { z } from "zod";

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
