/**
 * From a part sheet to a bundle's prompts, in the trainer and on a device alike: whoever calls brings the text tower.
 * In: the sheet and a tower (what its vocabulary is, and a function from token rows to embeddings). Out: prompts.json's content,
 * the rows it was made of, and what a person should be told: words that were left out, and words that lie too close to tell.
 */
import { KenpinError, type PartSheet, type PromptSet } from "@kenpin/schema";
import type { ModelConfig } from "./model-config.ts";
import { type CompiledSheet, compilePartSheet, ensembleFor, type PromptRow } from "./prompt-ensemble.ts";
import { createTokenizer, type Tokenizer } from "./tokenizer.ts";

export type TextEmbedder = {
  text: Pick<ModelConfig["text"], "merges" | "context">;
  /** exp of the model's logit scale. */
  logitScale: number;
  /** Rows of length 1, one for each row of token ids, in order. */
  embed: (inputIds: Int32Array[]) => Promise<Float32Array[]>;
};
export type EmbeddedSheet = CompiledSheet & { prompts: PromptSet };

/** Rows above this cosine are the same to a camera. */
const TOO_CLOSE = 0.95;
/** No sheet needs to hear more. */
const WARNINGS = 12;

export async function embedPartSheet(sheet: PartSheet, { text, logitScale, embed }: TextEmbedder): Promise<EmbeddedSheet> {
  const compiled = compilePartSheet(sheet, ensembleFor(text));
  const tokenizer = createTokenizer(text);
  const rows = compiled.rows.map((row) => ({ ...row, texts: whatFits(row, tokenizer, text.context) }));
  const all = [...new Set(rows.flatMap(({ texts }) => texts))];
  const embeds = await embed(all.map(tokenizer.encode));
  const found = new Map(all.map((one, i) => [one, embeds[i] as Float32Array]));
  const means = rows.map(({ texts }) => meanDirection(texts.map((one) => found.get(one) as Float32Array)));
  const of = (side: PromptRow["side"]) => rows.filter((row) => row.side === side).map((row) => row.text);
  const prompts: PromptSet = {
    schemaVersion: 1,
    good: of("good"),
    bad: of("bad"),
    weights: rows.map(({ weight }) => weight),
    words: rows.map(({ word }) => word),
    dim: (means[0] as Float32Array).length,
    embeddings: means.flatMap((mean) => [...mean]),
    logitScale,
  };
  return { ...compiled, rows, prompts, warnings: [...compiled.warnings, ...tooClose(rows, means)].slice(0, WARNINGS) };
}

/** A tower reads so many tokens. A text that fills them may have been cut, and the defect stands at its end. */
function whatFits({ word, texts }: PromptRow, { encode, endId }: Tokenizer, context: number): string[] {
  const fitting = texts.filter((text) => encode(text)[context - 1] !== endId);
  if (fitting.length > 0) return fitting;
  throw new KenpinError(
    "prompt-too-long",
    `"${word}" makes no sentence of at most ${context - 3} tokens, this model's limit; say it shorter`,
  );
}

/** The mean of rows, brought to length 1. */
function meanDirection(rows: Float32Array[]): Float32Array {
  const sum = new Float32Array((rows[0] as Float32Array).length);
  for (const row of rows) for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (row[i] as number);
  const length = Math.hypot(...sum) || 1;
  return sum.map((value) => value / length);
}

/** Two rows that mean the same decide nothing; the general ones among themselves are not the person's doing. */
function tooClose(rows: PromptRow[], means: Float32Array[]): string[] {
  const placed = rows.map((row, i) => ({ ...row, mean: means[i] as Float32Array }));
  const of = (side: PromptRow["side"]) => placed.filter((row) => row.side === side);
  return of("good").flatMap((good) =>
    of("bad").flatMap((bad) => {
      const cosine = dot(good.mean, bad.mean);
      if (cosine < TOO_CLOSE || (good.from === "general" && bad.from === "general")) return [];
      return [`"${good.word}" (good) and "${bad.word}" (bad) mean nearly the same to this model (cosine ${cosine.toFixed(3)})`];
    }),
  );
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
}
