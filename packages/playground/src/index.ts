export { type Factory, type FactoryOptions, startFactory, waitUntil } from "./factory.ts";
export { type Frame, type Split, splitFrames } from "./frames.ts";
export { LineCamera, type Played } from "./line-camera.ts";
