/** Batches for masked image modelling: block masks, and the targets that are made of the pixels themselves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { modelConfig } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";
import { surfacePool } from "../../../cloud-trainer/src/samples/batch.ts";
import { maskedBatches, targetsOf } from "../../../cloud-trainer/src/samples/masked-batch.ts";
import { blockMask, keptPatches } from "../../../cloud-trainer/src/samples/patch-masks.ts";

const config = modelConfig("kenpin-s-8");
const SIDE = 80;

test("a mask covers the asked share exactly, 105 of 256 as published, and in blocks rather than grains", () => {
  const random = createRandom(1);
  let touching = 0;
  for (let i = 0; i < 200; i++) {
    const mask = blockMask(16, 0.41, random);
    assert.equal(mask.reduce((sum, value) => sum + value, 0), 105); // biome-ignore format: one line
    for (let p = 0; p < 255; p++) if (p % 16 < 15 && mask[p] === 1 && mask[p + 1] === 1) touching++;
  }
  // 105 grains thrown anywhere have 105 · 240/256 · 104/255 = 40 neighbours to the right; blocks have far more.
  assert.ok(touching / 200 > 65, `${touching / 200} neighbours a mask`);
});

test("every patch is masked about as often as another", () => {
  const random = createRandom(2);
  const counts = new Float64Array(100);
  for (let i = 0; i < 2000; i++) for (const [p, value] of blockMask(10, 0.4, random).entries()) counts[p] = (counts[p] as number) + value;
  for (const [p, count] of counts.entries()) assert.ok(count > 600 && count < 1100, `patch ${p}: ${count} of 2000`);
});

test("small grids and extreme ratios leave at least one patch on each side", () => {
  const random = createRandom(3);
  for (const [grid, ratio, masked] of [[2, 0.9, 3], [2, 0.01, 1], [10, 0.9, 90], [3, 0.5, 5]] as const) // biome-ignore format: a table
    assert.equal([...blockMask(grid, ratio, random)].filter((value) => value === 1).length, masked);
});

test("patch dropout keeps an ordered, random choice, and nothing is chosen where nothing is dropped", () => {
  assert.equal(keptPatches(100, 0, createRandom(1)), null);
  const [a, b] = [keptPatches(100, 0.75, createRandom(1)), keptPatches(100, 0.75, createRandom(2))] as [Int32Array, Int32Array];
  assert.equal(a.length, 25);
  assert.deepEqual(
    [...a],
    [...new Set(a)].sort((x, y) => x - y),
  );
  assert.notDeepEqual(a, b);
});

test("a batch is a function of its draw, and brings targets only where no teacher is asked", () => {
  const source = { config, frames: [], surfaces: surfacePool(3, SIDE, 12, () => undefined), turn: true };
  const options = { size: 4, ratio: 0.4, seed: 5 };
  const [a, b] = [maskedBatches(source, { ...options, target: null }), maskedBatches(source, { ...options, target: "pixels" })];
  const [second, first] = [a(1), a(0)];
  assert.deepEqual([b(0).pixelValues, b(0).masked], [first.pixelValues, first.masked]);
  assert.notDeepEqual(second.masked, first.masked);
  assert.equal(first.targets, null);
  assert.equal(b(0).targets?.length, 4 * 100 * 3 * 64);
});

test("pixel targets have mean 0 and deviation 1 in each patch; stripes have one direction in their histogram", () => {
  const stripes = Float32Array.from({ length: 3 * SIDE * SIDE }, (_, i) => Math.sin((i % SIDE) / 2));
  const pixels = targetsOf(stripes, config, "pixels");
  const patch = pixels.subarray(0, 192);
  assert.ok(Math.abs(patch.reduce((sum, value) => sum + value, 0) / 192) < 1e-5);
  assert.ok(Math.abs(patch.reduce((sum, value) => sum + value * value, 0) / 192 - 1) < 1e-4);
  const hog = targetsOf(stripes, config, "hog");
  const histogram = hog.subarray(27 * 55, 27 * 56); // upright stripes: gradients along x only, without sign
  assert.ok(Math.abs(Math.hypot(...histogram) - 1) < 1e-5);
  for (let c = 0; c < 3; c++) assert.ok((histogram[c * 9] as number) > 0.5);
  assert.ok(histogram.filter((value) => value > 1e-3).length === 3);
});
