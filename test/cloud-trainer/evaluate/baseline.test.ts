/** The plain opponent decides by pictures that the model is taught by too: both labels, or good ones alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { auroc, createRandom } from "@kenpin/stats";
import { fitBaseline, type LabelledRow } from "../../../cloud-trainer/src/evaluate/baseline.ts";

test("defects that lie on either side of what is good are told apart, with labels better than without", () => {
  const [exemplars, judged] = [drawRows(1, 60), drawRows(2, 400)];
  const labels = judged.map(({ label }) => (label === "bad" ? 1 : 0));
  const areaOf = (taught: LabelledRow[]) => {
    const scoreOf = fitBaseline(taught);
    const scores = judged.map(({ row }) => scoreOf(row));
    assert.ok(scores.every((score) => score >= 0 && score <= 1));
    return auroc(scores, labels);
  };
  const [both, goodOnly] = [areaOf(exemplars), areaOf(exemplars.filter(({ label }) => label === "good"))];
  assert.ok(both > 0.95 && goodOnly > 0.75 && both > goodOnly, `${both}, ${goodOnly}`);
  assert.throws(() => fitBaseline(exemplars.filter(({ label }) => label === "bad")), /needs good pictures/);
});

/** Twelve numbers of which one tells, too large or too small. */
function drawRows(seed: number, count: number): LabelledRow[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, (_, i) => {
    const bad = i % 2 === 1;
    const row = Array.from({ length: 12 }, () => random.normal());
    if (bad) row[3] = (random.int(2) === 0 ? -1 : 1) * random.between(3, 5);
    return { row, label: bad ? "bad" : "good" };
  });
}
