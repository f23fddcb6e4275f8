/**
 * A part sheet: what a line engineer writes of one part number, in English or Japanese, as a small YAML file.
 *   part: BRKT-2041
 *   object: metal bracket
 *   bad: [キズ, 打痕, {say: bent pin, weight: 0.5}]
 * `part` and `object` are enough. @kenpin/clip turns it into prompts; a word that it does not know may be explained under `words`.
 */
import { z } from "zod";

const Text = z.string().trim().min(1).max(100);
const Weight = z.number().min(0.01, "a weight from 0.01 to 100").max(100, "a weight from 0.01 to 100").default(1);

/** One state of the part: a word or phrase that is put into sentences, or a whole English sentence that is taken as it is. */
export const StateWord = z.union(
  [Text, z.strictObject({ say: Text, weight: Weight }), z.strictObject({ sentence: z.string().trim().min(1).max(300), weight: Weight })],
  'expected a word, {say: "a word", weight: 2} or {sentence: "a whole sentence"}',
);
export type StateWord = z.infer<typeof StateWord>;

const States = z.array(StateWord).max(64).default([]);

export const PartSheet = z
  .strictObject({
    /** As it stands in a verdict. YAML reads 0042 as the number 42, so a part number of digits alone is written in quotes. */
    part: z
      .string({ error: ({ input }) => `expected text, got ${JSON.stringify(input) ?? "nothing"}; write it in quotes, as part: "0042"` })
      .trim()
      .min(1)
      .max(200),
    object: Text,
    good: States,
    bad: States,
    /**
     * What any good and any defective part is called ("a flawless surface", "a part with a flaw"): each of these counts as much as so
     * many of the sheet's words. A few kinds of defect alone would leave the others unseen. 0 leaves them out.
     */
    general: z.number().min(0).max(100).default(2),
    /** The sheet's own glossary: a word of this site in English, `テカリ: glare`; `{}` stands for the object, `テカリ: "shiny {}"`. */
    words: z.record(Text, Text).default({}),
  })
  .refine(({ general, good, bad }) => general > 0 || (good.length > 0 && bad.length > 0), {
    error: "with general: 0 the sheet needs good and bad words of its own, one of each at least",
    path: ["general"],
  });
export type PartSheet = z.infer<typeof PartSheet>;

/** What a bundle is made of: the sentences that people see and, where they came of a part sheet, that sheet. */
export const PartWords = z.strictObject({
  good: z.array(z.string().min(1).max(300)).min(1).max(256),
  bad: z.array(z.string().min(1).max(300)).min(1).max(256),
  sheet: PartSheet.optional(),
  /** Whether a bundle brings its text tower, so that words can be changed on the device. */
  withText: z.boolean().optional(),
});
export type PartWords = z.infer<typeof PartWords>;
