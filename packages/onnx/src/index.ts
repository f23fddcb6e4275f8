export type { Flavour } from "./blocks.ts";
export { textGraph, textModel } from "./clip-text.ts";
export { visionGraph, visionModel } from "./eva-vision.ts";
export type { Model, ModelBytes, ReadPrepared, ReadTensor } from "./model.ts";
export { nearestGraph } from "./nearest.ts";
export { openPrepared } from "./read-weights.ts";
