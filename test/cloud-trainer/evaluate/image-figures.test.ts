/** Figures of one test and of several: what cannot be known is null, errors shrink with seeds, the curve keeps its ends. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom } from "@kenpin/stats";
import {
  imageFigures,
  imageIntervals,
  meansOf,
  type Scored,
  standardErrorsOf,
  tradeOff,
} from "../../../cloud-trainer/src/evaluate/image-figures.ts";

test("a part at the cut fails; figures that one label alone cannot give are null", () => {
  const scored: Scored[] = [
    { label: "good", score: 0.5 },
    { label: "good", score: 0.2 },
    { label: "bad", score: 0.5 },
    { label: "bad", score: 0.4 },
  ];
  const { accuracy, escapeRate, overkillRate, auroc } = imageFigures(scored, 0.5);
  assert.deepEqual({ accuracy, escapeRate, overkillRate, auroc }, { accuracy: 0.5, escapeRate: 0.5, overkillRate: 0.5, auroc: 0.625 });
  const good = imageFigures(scored.slice(0, 2), 0.5);
  assert.deepEqual([good.auroc, good.averagePrecision, good.f1Max, good.escapeRate, good.overkillRate], [null, null, null, null, 0.5]);
  assert.deepEqual(imageIntervals(scored.slice(0, 2), 0.5), { image: {} });
});

test("over seeds figures are means with s / √n, of those that there are; one seed has no error", () => {
  const rows = [
    { a: 0.5, b: null },
    { a: 0.7, b: 0.2 },
    { a: 0.9, b: null },
  ];
  assert.deepEqual(meansOf(rows), { a: 0.7000000000000001, b: 0.2 });
  const { a, b } = standardErrorsOf(rows);
  assert.ok(Math.abs((a as number) - 0.2 / Math.sqrt(3)) < 1e-12);
  assert.equal(b, null);
});

test("intervals lie around their figures and inside [0, 1]", () => {
  const scored = draw(80);
  const figures = imageFigures(scored, 0.5);
  for (const [name, interval] of Object.entries(imageIntervals(scored, 0.5).image)) {
    const value = figures[name as keyof typeof figures] as number;
    assert.ok(interval && interval.low <= value && value <= interval.high && interval.low >= 0 && interval.high <= 1, name);
  }
});

test("the trade-off runs from nothing passes to nothing fails, one rate rising as the other falls, in at most 200 points", () => {
  for (const count of [4, 2000]) {
    const points = tradeOff(draw(count));
    assert.ok(points.length >= 3 && points.length <= 200);
    const [first, last] = [points[0], points.at(-1)];
    assert.deepEqual([first?.escapeRate, first?.overkillRate, last?.escapeRate, last?.overkillRate], [0, 1, 1, 0]);
    for (let i = 1; i < points.length; i++) {
      const [before, after] = [points[i - 1], points[i]];
      assert.ok((after?.escapeRate as number) >= (before?.escapeRate as number));
      assert.ok((after?.overkillRate as number) <= (before?.overkillRate as number));
    }
  }
});

function draw(count: number): Scored[] {
  const random = createRandom(count);
  return Array.from({ length: count }, (_, i) => ({
    label: i % 2 === 0 ? "good" : "bad",
    score: Math.min(1, Math.max(0, 0.4 + 0.2 * (i % 2) + 0.2 * random.normal())),
  }));
}
