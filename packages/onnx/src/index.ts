export { textGraph } from "./clip-text.ts";
export { visionGraph } from "./eva-vision.ts";
export { nearestGraph } from "./nearest.ts";
