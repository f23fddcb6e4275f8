export { type AnomalyMap, enlargeMap, stitch } from "./anomaly-map.ts";
export * from "./choose-thresholds.ts";
export { type ChosenRuntime, chooseRuntime, type RuntimeChoice } from "./choose-runtime.ts";
export type { FrameStats } from "./frame-stats.ts";
export type { Inspection } from "./inspection.ts";
export {
  embedImages,
  embedTexts,
  type Exemplar,
  type Inspector,
  type InspectorOptions,
  proveGolden,
  startInspector,
} from "./inspector.ts";
export { keepTokens, teachBank } from "./memory-bank.ts";
export type { Progress } from "./protocol.ts";
export { type ModelRunner, type ModelWorker, startModel, startModelWorker, type Tensors } from "./run-model.ts";
export * from "./score.ts";
export type { Taught } from "./teaching.ts";
export { windowMeans } from "./token-window.ts";
export { acrossScales, badShares, harmonicMap, pictureScore, WINDOW_SIDES, windowsOf } from "./winclip.ts";
