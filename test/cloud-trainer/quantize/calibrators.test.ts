/** The calibrators on values whose best range can be worked out by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom } from "@kenpin/stats";
import { rangeOf, roundingError, stepOf } from "../../../cloud-trainer/src/quantize/calibrators.ts";

const near = (actual: number, expected: number, by = 1e-6) =>
  assert.ok(Math.abs(actual - expected) <= by, `${actual}, expected ${expected}`);

test("min-max takes all that was seen, also what is not among the kept values", () => {
  assert.deepEqual(rangeOf({ min: -3, max: 9, values: Float32Array.of(0, 1) }, "min-max", false), { low: -3, high: 9 });
});

test("the wide range has 30 % of room on either side", () => {
  const { low, high } = rangeOf({ min: -3, max: 10, values: Float32Array.of(0, 1) }, "wide", false);
  near(low, -3.9);
  near(high, 13);
});

test("the percentile leaves one value in ten thousand out on either side", () => {
  // 0 … 19,999: two values on each side are beyond it.
  const values = Float32Array.from({ length: 20_000 }, (_, i) => i);
  assert.deepEqual(rangeOf({ min: 0, max: 19_999, values }, "percentile", false), { low: 2, high: 19_997 });
});

test("the smallest error cuts one far value off when many near ones gain by it, and none when it would lose more", () => {
  // 40,000 even values in [−1, 1] and one at 8. All kept: steps of 9/255, error (9/255)²/12 = 1.04e-4. Cut at 2 (the share
  // 0.25 of 8): steps of 2.25/255, error 6.5e-6 + 36/40,001 = 9.1e-4. So keeping wins; without the far value's weight cutting does.
  const even = Array.from({ length: 40_000 }, (_, i) => -1 + (2 * i) / 39_999);
  const kept = rangeOf({ min: -1, max: 8, values: Float32Array.from([...even, 8]) }, "mse", false);
  assert.ok(kept.high > 7, `${kept.high}`);
  // The far value among none of the kept ones costs nothing: the range shrinks until the even values are cut.
  const cut = rangeOf({ min: -8, max: 8, values: Float32Array.from(even) }, "mse", false);
  assert.ok(cut.high >= 0.98 && cut.high <= 1.25, `${cut.high}`);
});

test("entropy keeps all of an even distribution and cuts the empty tail of one with a single far value", () => {
  const even = Float32Array.from({ length: 20_480 }, (_, i) => (i + 0.5) / 20_480);
  near(rangeOf({ min: 0, max: 1, values: even }, "entropy", false).high, 1, 0.01);
  const random = createRandom(4);
  const bell = Float32Array.from({ length: 20_000 }, (_, i) => (i === 0 ? 40 : random.normal()));
  const { low, high } = rangeOf({ min: -40, max: 40, values: bell }, "entropy", true);
  assert.ok(high > 2 && high < 12, `${high}`);
  near(low, -high);
});

test("unsigned codes hold 0 exactly and cover the range; signed ones lie around 0", () => {
  const { scale, zero } = stepOf({ low: -1, high: 4.1 }, false);
  near(scale, 5.1 / 255);
  assert.equal(zero, 50);
  assert.deepEqual(stepOf({ low: 0.5, high: 2.55 }, false), { scale: 2.55 / 255, zero: 0 });
  assert.deepEqual(stepOf({ low: -2.54, high: 1 }, true), { scale: 0.02, zero: 0 });
});

test("a rounding error is a step's squared twelfth inside the range, and the squared distance outside", () => {
  const values = Float32Array.from({ length: 30_000 }, (_, i) => -1 + (2 * i) / 29_999);
  const step = stepOf({ low: -1, high: 1 }, false);
  near(roundingError(values, step, false) / (step.scale ** 2 / 12), 1, 0.02);
  near(roundingError(Float32Array.of(5), stepOf({ low: -1, high: 1 }, true), true), 16, 1e-5);
});
