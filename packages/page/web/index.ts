export { type Fact, Facts } from "./facts.tsx";
export { type Language, timeText, useLanguage, WORDS } from "./language.ts";
export { ask, followEvents, oncePerFrame, useStore } from "./live.ts";
export { OutcomeMark, Shape } from "./outcome-mark.tsx";
export { HeatMap, Regions } from "./picture.tsx";
export { TopBar } from "./top-bar.tsx";
