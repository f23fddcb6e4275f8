export { textGraph, textModel, textPlaces } from "./clip-text.ts";
export { visionGraph, visionModel, visionPlaces } from "./eva-vision.ts";
export type { Flavour } from "./graph.ts";
export type { Model, ModelBytes, ReadPrepared, ReadTensor } from "./model.ts";
export { nearestGraph } from "./nearest.ts";
export { productProbe } from "./probe.ts";
export type { PlaceName, PlacePlan, QuantPlan, Scheme, WeightForm } from "./quant-plan.ts";
export { openPrepared } from "./read-weights.ts";
export { windowVisionGraph } from "./window-vision.ts";
