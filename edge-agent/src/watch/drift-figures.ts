/**
 * The few figures by which a camera's drift is told: what words, memory bank and score say of a frame, and what it looks like before
 * any model. In: an Inspection. Out: one row, null where there is no memory bank. The inspector keeps its embeddings to itself, so
 * `words` and `references` stand for them: the frame's likeness to the words, and its distance from what was taught.
 */
import type { Inspection } from "@kenpin/inspector";
import type { DriftFigureName } from "@kenpin/schema";

export type Row = readonly (number | null)[];
type Seen = Pick<Inspection, "score" | "textLogit" | "referenceZ" | "strangeness" | "stats">;

/** A figure, and the spread that matters at least: a lamp that ages by less than a level in 256 is no drift. */
type Trait = { name: DriftFigureName; leastSpread: number; of: (seen: Seen) => number | null };

export const TRAITS: readonly Trait[] = [
  { name: "score", leastSpread: 0.1, of: ({ score }) => logOdds(score) },
  { name: "words", leastSpread: 0.1, of: ({ textLogit }) => textLogit },
  { name: "references", leastSpread: 0.2, of: ({ referenceZ }) => referenceZ },
  { name: "strangeness", leastSpread: 0.05, of: ({ strangeness }) => strangeness },
  { name: "brightness", leastSpread: 1, of: ({ stats }) => stats.mean },
  { name: "contrast", leastSpread: 0.02, of: ({ stats }) => Math.log(Math.max(stats.contrast, 0.5)) },
  { name: "sharpness", leastSpread: 0.03, of: ({ stats }) => Math.log(Math.max(stats.sharpness, 0.5)) },
  { name: "red", leastSpread: 0.5, of: ({ stats }) => stats.colour.red },
  { name: "blue", leastSpread: 0.5, of: ({ stats }) => stats.colour.blue },
];

/** In the order of TRAITS; four decimals are more than any of them is worth, and keep a kept reference small. */
export function driftRow(seen: Seen): Row {
  return TRAITS.map(({ of }) => {
    const value = of(seen);
    return value === null || !Number.isFinite(value) ? null : Math.round(value * 1e4) / 1e4;
  });
}

function logOdds(score: number): number {
  const inside = Math.min(1 - 1e-6, Math.max(1e-6, score));
  return Math.log(inside / (1 - inside));
}
