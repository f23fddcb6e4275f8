export * from "./bootstrap.ts";
export * from "./dual-logistic-regression.ts";
export * from "./logistic-regression.ts";
export * from "./quantile.ts";
export * from "./random.ts";
export * from "./rank-correlation.ts";
export * from "./roc.ts";
