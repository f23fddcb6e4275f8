/**
 * prompts.json of a bundle: the words that decide, with their embeddings, so that a device needs no text tower.
 * A row is one state of the part. The good direction is the weighted mean of the good rows, the bad one that of the bad rows.
 */
import { z } from "zod";

const Texts = z.array(z.string().min(1).max(300)).min(1).max(256);

export const PromptSet = z
  .strictObject({
    schemaVersion: z.literal(1),
    good: Texts,
    bad: Texts,
    /** Of each row, good first; 1 where it is left out. */
    weights: z.array(z.number().positive().max(1_000_000)).optional(),
    /** What the person wrote for each row, shown in its place: "キズ" for "a metal bracket with a scratch". */
    words: z.array(z.string().min(1).max(300)).optional(),
    /** Row-major [good + bad, dim], L2-normalised, in the order above. */
    dim: z.int().min(1),
    embeddings: z.array(z.number()),
    /** exp(logit scale) of the model these were made with. */
    logitScale: z.number().positive(),
  })
  .check(({ value: { good, bad, dim, weights, words, embeddings }, issues }) => {
    const rows = good.length + bad.length;
    const wanted: [name: string, found: number | undefined, count: number][] = [
      ["embeddings", embeddings.length, rows * dim],
      ["weights", weights?.length, rows],
      ["words", words?.length, rows],
    ];
    for (const [name, found, count] of wanted) {
      if (found === undefined || found === count) continue;
      issues.push({ code: "custom", message: `expected ${count} ${name}, got ${found}`, path: [name], input: found });
    }
  });
export type PromptSet = z.infer<typeof PromptSet>;

/** text.json, beside an optional text.onnx: all else that a device needs to embed other words by the bundle's own text tower. */
export const TextTower = z.strictObject({
  schemaVersion: z.literal(1),
  /** Tokens in a text, and how many of CLIP's merges the vocabulary keeps. */
  context: z.int().min(4).max(1024),
  merges: z.int().min(0).max(48_894),
  logitScale: z.number().positive(),
});
export type TextTower = z.infer<typeof TextTower>;
