/** LAMB against timm's, step for step (test/fixtures/train/make_lamb.py), and the schedule that drives it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadBackend, type Tensor } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import type { Weights } from "../../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { createOptimizer, globalNorm } from "../../../cloud-trainer/src/train/engines/tfjs/optimizer.ts";
import { hasDecay } from "../../../cloud-trainer/src/train/engines/tfjs/parameter-groups.ts";
import { cosineRate } from "../../../cloud-trainer/src/train/engines/tfjs/schedule.ts";
import { draw } from "../../onnx/seeded-weights.ts";

type Case = { name: string; weightDecay: number; gradientScale: number; rate: number; norms: number[]; after: Record<string, number[]>[] };
type Golden = { shapes: Record<string, number[]>; steps: number; cases: Case[] };

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../../fixtures/train/lamb.json"), "utf8")) as Golden;
const { tf } = await loadBackend();

for (const { name, weightDecay, gradientScale, rate, norms, after } of golden.cases) {
  test(`twenty steps with ${name} end where timm's do`, () => {
    const weights = startingWeights();
    const lamb = createOptimizer(tf, weights, { name: "lamb", weightDecay });
    for (const [step, expected] of after.entries()) {
      const gradients = new Map<string, Tensor>();
      for (const [key, shape] of Object.entries(golden.shapes)) {
        const values = draw(`gradient ${step} ${key}`, sizeOf(shape)).map((u) => u * gradientScale);
        gradients.set(key, tf.tensor(Float32Array.from(values), shape));
      }
      const norm = globalNorm(tf, gradients).dataSync()[0] as number;
      lamb.step(weights, gradients, { rate, norm });
      assert.ok(Math.abs(norm / (norms[step] as number) - 1) < 1e-5);
      assert.equal(norm > 1, gradientScale > 1, "the case clips where its name says so");
      for (const [key, values] of Object.entries(expected)) assertClose(weights.get(key)?.dataSync() as Float32Array, values, key);
    }
  });
}

test("a parameter with its own share of the rate moves by that share", () => {
  const moved = (share: number) => {
    const weights = startingWeights();
    const before = weights.get("block.bias")?.dataSync().slice() as Float32Array;
    const lamb = createOptimizer(tf, weights, { name: "lamb" }, (name) => (name === "block.bias" ? share : 1));
    lamb.step(weights, new Map([["block.bias", tf.tensor1d([1, -1, 2, -2])]]), { rate: 0.01, norm: Math.sqrt(10) });
    const now = weights.get("block.bias")?.dataSync() as Float32Array;
    return Array.from(now, (value, i) => value - (before[i] as number));
  };
  const [whole, tenth] = [moved(1), moved(0.1)];
  for (const [i, value] of whole.entries()) assert.ok(Math.abs((tenth[i] as number) - value / 10) < 1e-6);
});

test("norms, biases, positions, the class token and the logit scale have no decay; matrices do", () => {
  const plain: [string, number[]][] = [
    ["visual.trunk.norm.weight", [128]],
    ["visual.trunk.blocks.0.attn.q_proj.bias", [128]],
    ["text.transformer.resblocks.0.attn.in_proj_bias", [384]],
    ["visual.trunk.pos_embed", [1, 101, 128]],
    ["text.positional_embedding", [24, 128]],
    ["visual.trunk.cls_token", [1, 1, 128]],
    ["logit_scale", []],
  ];
  const decayed: [string, number[]][] = [
    ["visual.trunk.blocks.0.mlp.fc1_g.weight", [344, 128]],
    ["visual.trunk.patch_embed.proj.weight", [128, 3, 8, 8]],
    ["text.text_projection", [128, 128]],
  ];
  for (const [name, shape] of plain) assert.equal(hasDecay(name, shape), false, name);
  for (const [name, shape] of decayed) assert.equal(hasDecay(name, shape), true, name);
});

test("the rate rises in a line to its peak, falls in a cosine, and ends at its floor", () => {
  const at = (step: number) => cosineRate(step, { peak: 2, warmup: 10, steps: 110, floor: 0.1 });
  assert.deepEqual([at(0), at(4), at(9)], [0.2, 1, 2]);
  assert.ok(Math.abs(at(10) - 2) < 1e-12);
  assert.ok(Math.abs(at(60) - 2 * 0.55) < 1e-12, "half way: the mean of peak and floor");
  assert.ok(Math.abs(at(110) - 0.2) < 1e-12 && at(1000) === at(110));
});

function startingWeights(): Weights {
  const weights: Weights = new Map();
  for (const [name, shape] of Object.entries(golden.shapes)) {
    const scale = name.startsWith("zeros") ? 0 : 0.5;
    weights.set(name, tf.variable(tf.tensor(Float32Array.from(draw(name, sizeOf(shape)).map((u) => u * scale)), shape)));
  }
  return weights;
}

function sizeOf(shape: number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** ‖actual − expected‖ ≤ 1e-5 · ‖expected‖. */
function assertClose(actual: Float32Array, expected: number[], what: string): void {
  assert.equal(actual.length, expected.length);
  const off = Math.hypot(...expected.map((value, i) => value - (actual[i] as number)));
  assert.ok(off <= 1e-5 * Math.hypot(...expected), `${what} is off by ${off}`);
}
