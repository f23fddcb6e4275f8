export type { FrameStats, Inspection } from "./inspection.ts";
export {
  embedImages,
  embedTexts,
  type Inspector,
  type InspectorOptions,
  proveGolden,
  startInspector,
} from "./inspector.ts";
export * from "./score.ts";
