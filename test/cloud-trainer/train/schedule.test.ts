/** The learning rate's course over a run. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cosineRate } from "../../../cloud-trainer/src/train/engines/tfjs/schedule.ts";

test("the rate rises in a line to its peak, falls in a cosine, and ends at its floor", () => {
  const at = (step: number) => cosineRate(step, { peak: 2, warmup: 10, steps: 110, floor: 0.1 });
  assert.deepEqual([at(0), at(4), at(9)], [0.2, 1, 2]);
  assert.ok(Math.abs(at(10) - 2) < 1e-12);
  assert.ok(Math.abs(at(60) - 2 * 0.55) < 1e-12, "half way: the mean of peak and floor");
  assert.ok(Math.abs(at(110) - 0.2) < 1e-12 && at(1000) === at(110));
});
