/** The towers on the wasm back end, where TensorFlow's kernels are not to be had: the same embeddings and gradients. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseModelConfig } from "@kenpin/clip";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { CASES, cosine, runTowers, sampled } from "./tower-run.ts";

const { tf, name } = await loadBackend("wasm");
const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../../fixtures/train/blocks.json"), "utf8"));
const config = parseModelConfig(golden.config, "golden blocks");

for (const [i, one] of CASES.entries()) {
  test(`without TensorFlow's library, with ${one.name}, embeddings and gradients are PyTorch's too`, () => {
    assert.equal(name, "wasm");
    const { embeds, gradients } = runTowers(tf, config, one);
    for (const [name, embed] of Object.entries(embeds)) {
      assert.ok(embed.every((value, j) => Math.abs(value - golden.cases[i][name][j]) < 2e-6));
    }
    for (const [name, expected] of Object.entries(golden.cases[i].gradients as Record<string, { norm: number; sample: number[] }>)) {
      const gradient = gradients.get(name) as Float32Array;
      assert.ok(Math.abs(Math.hypot(...gradient) / expected.norm - 1) < 1e-4, name);
      assert.ok(cosine(sampled(name, gradient), expected.sample) >= 0.9999, name);
    }
  });
}
