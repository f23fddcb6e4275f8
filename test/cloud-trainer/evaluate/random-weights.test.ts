/** A control must be a network that could have been trained: signals keep their size, and a seed gives the same one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { modelConfig, tensorShapes } from "@kenpin/clip";
import { deviation } from "@kenpin/stats";
import { randomWeights } from "../../../cloud-trainer/src/evaluate/random-weights.ts";

test("every tensor of the architecture is there, norms pass on, biases are 0, products keep the size of their input", () => {
  const config = modelConfig("kenpin-s-8");
  const [tensors, same, other] = [1, 1, 2].map((seed) => randomWeights(config, seed));
  assert.deepEqual([...(tensors?.keys() ?? [])], [...tensorShapes(config).keys()]);
  const data = (name: string) => [...(tensors?.get(name)?.data ?? [])];
  assert.ok(data("visual.trunk.blocks.0.norm1.weight").every((value) => value === 1));
  assert.ok(data("visual.trunk.blocks.0.attn.q_proj.bias").every((value) => value === 0));
  const fc2 = "visual.trunk.blocks.0.mlp.fc2.weight";
  assert.ok(Math.abs(deviation(data(fc2)) * Math.sqrt(config.image.mlpHidden) - 1) < 0.03);
  assert.ok(Math.abs(deviation(data("visual.trunk.pos_embed")) / 0.02 - 1) < 0.03);
  assert.deepEqual(same?.get(fc2), tensors?.get(fc2));
  assert.notDeepEqual(other?.get(fc2), tensors?.get(fc2));
});
