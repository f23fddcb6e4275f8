/**
 * What `kenpin quantize` writes as quantization.json and prints with --json: how a model was rounded, and what that did to
 * its answers. Times in milliseconds for one tile on the machine that quantized it.
 */
import type { Scheme, WeightForm } from "@kenpin/onnx";
import type { SearchBudget, Tried } from "./choose-plan.ts";
import type { Cosines } from "./fidelity.ts";
import type { PlanChoice } from "./make-plan.ts";

export type LayerError = {
  name: string;
  /** Relative error of what the place reads, with all that was lost before it. */
  error: number;
  /** Of its own rounding alone. */
  rounding: number;
  inFloat: boolean;
};
export type TowerReport = {
  choice: PlanChoice | null;
  inFloat: string[];
  tried: Tried[];
  bytes: { before: number; after: number; ratio: number };
  ms: { before: number; after: number };
};
type BeforeAfter = { before: number; after: number };
export type QuantizationReport = {
  format: 1;
  scheme: Scheme;
  weights: WeightForm;
  calibration: { pictures: number; tiles: number; warnings: string[] };
  budget: SearchBudget;
  vision: TowerReport & {
    /** On calibration pictures that no range was taken from (below eight tiles: on the same). */
    cosine: Cosines;
    cosineGenerated: Cosines;
    ranks: { scores: number; sameClosestPrompt: number };
    auroc: { pictures: number; image: BeforeAfter; pixel: BeforeAfter | null };
    layers: LayerError[];
  };
  /** Null where the text tower was not asked for: a bundle carries its words' embeddings, not the tower. */
  text: (TowerReport & { cosine: { mean: number; least: number } }) | null;
  /** What keeps this model from taking the float one's place, see gate.ts; empty when nothing does. */
  shortfalls: string[];
};
