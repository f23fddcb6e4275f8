/**
 * From similarities to one defect score; the trainer chooses its thresholds with these very functions.
 * Words: each patch against the mean direction of bad prompts minus that of good ones. Bank: distance to good patches, in
 * deviations of the good references. See `Scoring` in the bundle's manifest for the formula. Pure.
 */
import type { PromptSet, Scoring } from "@kenpin/schema";

export type Directions = { difference: Float32Array; logitScale: number };
/** The good references' own values, left out one frame at a time. */
export type ReferenceStats = {
  text: Moments;
  /** Of their hottest patches alone, by words: what a map's words are held against. */
  patchTop: Moments;
  bankMean: Moments;
  bankTop: Moments;
  /** Of the mix of the three above: a mean of two deviations, and a larger of two, no longer has mean 0 and deviation 1. */
  away: Moments;
};
export type Moments = { mean: number; deviation: number };
/** By words: the whole frame, and its hottest patches. */
export type ReferenceValues = { text: number; patchTop: number };
export type BankDistance = { mean: number; top: number };

/** Normalised weighted mean of the bad prompts' embeddings minus that of the good ones. */
export function promptDirections({ good, bad, weights, dim, embeddings, logitScale }: PromptSet): Directions {
  const direction = (from: number, count: number) => {
    const sum = new Float32Array(dim);
    for (let row = from; row < from + count; row++) {
      const weight = weights?.[row] ?? 1;
      for (let i = 0; i < dim; i++) sum[i] = (sum[i] as number) + weight * (embeddings[row * dim + i] as number);
    }
    const length = Math.hypot(...sum) || 1;
    return sum.map((value) => value / length);
  };
  const goodDirection = direction(0, good.length);
  const badDirection = direction(good.length, bad.length);
  return { difference: badDirection.map((value, i) => value - (goodDirection[i] as number)), logitScale };
}

/** The prompt whose embedding lies closest to this one, good or bad, as the person wrote it; all of length 1. */
export function closestPrompt({ good, bad, words, dim, embeddings }: PromptSet, embed: Float32Array): string {
  const texts = words ?? [...good, ...bad];
  const cosines = texts.map((_, row) => embed.reduce((sum, value, i) => sum + value * (embeddings[row * dim + i] as number), 0));
  return texts[cosines.indexOf(Math.max(...cosines))] as string;
}

/** One logit a row: logit scale · (cos to bad − cos to good). Positive means bad. */
export function wordLogits(embeds: Float32Array, { difference, logitScale }: Directions): Float32Array {
  const dim = difference.length;
  const out = new Float32Array(embeds.length / dim);
  for (let row = 0; row < out.length; row++) {
    let sum = 0;
    for (let i = 0, at = row * dim; i < dim; i++, at++) sum += (embeds[at] as number) * (difference[i] as number);
    out[row] = sum * logitScale;
  }
  return out;
}

/** Mean of the highest `ratio` of the values, of one at least. */
export function meanOfTop(values: Float32Array, ratio: number): number {
  const sorted = values.slice().sort();
  const count = Math.max(1, Math.round(values.length * ratio));
  let sum = 0;
  for (let i = sorted.length - count; i < sorted.length; i++) sum += sorted[i] as number;
  return sum / count;
}

export function summaryOf(distances: Float32Array, topRatio: number): BankDistance {
  return { mean: meanOf(distances), top: meanOfTop(distances, topRatio) };
}

export function meanOf(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

export function momentsOf(values: number[]): Moments {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return { mean, deviation: Math.sqrt(variance) };
}

/** Raw text value of a frame: its hottest patches and its tiles' image logits, before scale and bias. */
export function rawText(patchLogits: Float32Array, imageLogits: Float32Array, { topRatio, imageWeight }: Scoring): number {
  return (1 - imageWeight) * meanOfTop(patchLogits, topRatio) + imageWeight * meanOf(imageLogits);
}

/**
 * The frame's logit and its score in [0, 1], before any head; `bank` and `references` are null while only words decide.
 * `referenceZ` is how far the frame lies from the good references, in their own deviations; null where they do not decide.
 */
export function fuse(
  text: number,
  bank: BankDistance | null,
  references: ReferenceStats | null,
  scoring: Scoring,
): { logit: number; score: number; bankZ: number | null; referenceZ: number | null } {
  const textLogit = scoring.textScale * text + scoring.textBias;
  if (!bank || !references) return { logit: textLogit, score: sigmoid(textLogit), bankZ: null, referenceZ: null };
  const bankZ = bankDeviations(bank, references);
  if (!scoring.recentreText) {
    const fromBank = scoring.bankScale * (bankZ - scoring.bankCut);
    const logit = (1 - scoring.bankWeight) * textLogit + scoring.bankWeight * fromBank;
    return { logit, score: sigmoid(logit), bankZ, referenceZ: null };
  }
  const referenceZ = deviations(awayFromReferences(text, bank, references, scoring), references.away);
  const logit = scoring.bankScale * (referenceZ - scoring.bankCut);
  return { logit, score: sigmoid(logit), bankZ, referenceZ };
}

/** Each patch's own logit of being defective, from its words and its distance to the bank; see `PatchScoring`. */
export function patchHeat(
  words: Float32Array,
  distances: Float32Array | null,
  references: ReferenceStats | null,
  { patches }: Pick<Scoring, "patches">,
): Float32Array {
  if (!distances || !references) return words.map((value) => patches.textScale * value + patches.textBias);
  const { patchTop, bankTop } = references;
  return words.map((value, i) => {
    const away = Math.max(deviations(value, patchTop), deviations(distances[i] as number, bankTop));
    return patches.referenceScale * (away - patches.referenceCut);
  });
}

/** What the good references are like: each one's own values, its distances to a bank that has not seen it. */
export function referenceStats(frames: readonly (ReferenceValues & { bank: BankDistance })[], scoring: Scoring): ReferenceStats {
  const parts = {
    text: momentsOf(frames.map(({ text }) => text)),
    patchTop: momentsOf(frames.map(({ patchTop }) => patchTop)),
    bankMean: momentsOf(frames.map(({ bank }) => bank.mean)),
    bankTop: momentsOf(frames.map(({ bank }) => bank.top)),
  };
  return { ...parts, away: momentsOf(frames.map(({ text, bank }) => awayFromReferences(text, bank, parts, scoring))) };
}

/** Text and bank in deviations of the references, mixed by `bankWeight`; not yet standardised itself. */
function awayFromReferences(text: number, bank: BankDistance, references: Omit<ReferenceStats, "away">, scoring: Scoring): number {
  return (1 - scoring.bankWeight) * deviations(text, references.text) + scoring.bankWeight * bankDeviations(bank, references);
}

function bankDeviations(bank: BankDistance, { bankMean, bankTop }: Pick<ReferenceStats, "bankMean" | "bankTop">): number {
  return Math.max(deviations(bank.mean, bankMean), deviations(bank.top, bankTop));
}

function deviations(value: number, { mean, deviation }: Moments): number {
  return (value - mean) / Math.max(deviation, 1e-6);
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
