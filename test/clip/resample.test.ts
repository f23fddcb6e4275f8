/** Positions and patch kernels at another size, against timm's own functions (test/fixtures/clip/make_towers.py). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { resamplePatches, resamplePositions } from "../../packages/clip/src/resample.ts";
import { draw } from "../onnx/seeded-weights.ts";

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/clip/resampling.json"), "utf8")) as Record<
  "positions" | "patches",
  Record<string, number[]>
>;

for (const [to, expected] of Object.entries(golden.positions)) {
  test(`positions of a 4 × 4 grid become those of ${to} × ${to} as timm makes them`, () => {
    assertClose(resamplePositions(Float32Array.from(draw("pos", 17 * 3)), 3, 4, Number(to)), expected);
  });
}

for (const [to, expected] of Object.entries(golden.patches)) {
  test(`patch kernels of 8 pixels become those of ${to} as timm makes them`, () => {
    assertClose(resamplePatches(Float32Array.from(draw("patch", 2 * 3 * 64)), 8, Number(to)), expected);
  });
}

/** float32 on the reference's side: six digits agree. */
function assertClose(actual: Float32Array, expected: number[]): void {
  assert.equal(actual.length, expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - (expected[i] as number))), 0);
  assert.ok(worst <= 5e-6 * scale, `largest difference ${worst}`);
}
