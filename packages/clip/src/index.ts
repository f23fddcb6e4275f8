export * from "./image.ts";
export * from "./model-config.ts";
export * from "./safetensors.ts";
export * from "./tiles.ts";
export * from "./tokenizer.ts";
