/** The cost of a model, in the paper's measure. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { modelConfig } from "@kenpin/clip";
import { imageGflops, textGflops, trainingBytes } from "../../../cloud-trainer/src/train/cost.ts";

const pair = (name: string) => imageGflops(modelConfig(name)) + textGflops(modelConfig(name));

test("a picture and a caption cost what the paper's table says: 41.09 GFLOPs with B/16", () => {
  assert.ok(Math.abs(pair("EVA02-B-16") - 41.09) < 0.05, `${pair("EVA02-B-16")}`);
});

test("half of the patches cost less than half of the picture, because attention is quadratic", () => {
  const config = modelConfig("EVA02-L-14-336");
  assert.ok(imageGflops(config, 0.5) < 0.5 * imageGflops(config) + 0.01);
  assert.ok(imageGflops(config, 0.5) > 0.4 * imageGflops(config));
});

test("recomputation holds less, and memory grows with the batch", () => {
  const config = modelConfig("kenpin-s-8");
  const of = (pictures: number, recompute: boolean) => trainingBytes(config, { pictures, captions: 0, recompute });
  assert.ok(of(64, true) < 0.6 * of(64, false));
  assert.ok(of(128, false) > 1.5 * of(64, false));
});
