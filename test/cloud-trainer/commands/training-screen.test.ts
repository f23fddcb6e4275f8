/** Progress on a terminal: one line that says where a run stands, with its loss curve. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createProgressLine, duration, sparkline } from "../../../cloud-trainer/src/commands/training-screen.ts";

test("a falling loss is a falling curve, however many steps it has", () => {
  assert.equal(sparkline([8, 7, 6, 5, 4, 3, 2, 1]), "█▇▆▅▄▃▂▁");
  const long = sparkline(Array.from({ length: 1000 }, (_, i) => 1000 - i));
  assert.equal(long.length, 24);
  assert.ok(long.startsWith("█") && long.endsWith("▁"));
  assert.equal(sparkline([3, 3, 3]), "▁▁▁");
});

test("a line has stage, steps, loss, speed and time left; another stage begins another curve", () => {
  const line = createProgressLine();
  const step = (stage: string, step: number, loss: number | null) =>
    line({ stage, step, steps: 20, loss, imagesPerSecond: 81.4, secondsLeft: 150 });
  assert.equal(step("making surfaces", 5, null), "making surfaces 5 of 20");
  step("pretrain", 1, 0.9);
  assert.equal(step("pretrain", 2, 0.5), "pretrain 2/20  loss 0.500 █▁  81 images/s  3 min left");
  assert.equal(step("train", 1, 2), "train 1/20  loss 2.000 ▁  81 images/s  3 min left");
});

test("times are said in the unit a person would use", () => {
  assert.deepEqual([0.2, 89.5, 90, 5399, 5400, 86_400].map(duration), ["1 s", "90 s", "2 min", "90 min", "1.5 h", "24.0 h"]);
});
