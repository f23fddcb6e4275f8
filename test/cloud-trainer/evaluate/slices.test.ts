/** The bias check says what is there and is quiet about what chance does; prediction sets keep their promise. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom, type Random } from "@kenpin/stats";
import { coverageOf } from "../../../cloud-trainer/src/evaluate/coverage.ts";
import type { Scored } from "../../../cloud-trainer/src/evaluate/image-figures.ts";
import { brightnessSlices, findGaps, type SlicedPicture } from "../../../cloud-trainer/src/evaluate/slices.ts";

test("where no slice differs, a gap is called real in at most one of twenty sets, however many slices were looked at", () => {
  const random = createRandom(4);
  const sets = 300;
  let alarms = 0;
  for (let set = 0; set < sets; set++) {
    const gaps = findGaps(
      drawPictures(random, 240, () => 0.12),
      0.5,
    );
    alarms += Number(gaps.some(({ worstGap }) => worstGap?.beyondChance));
  }
  assert.ok(alarms / sets <= 0.05, `${alarms} of ${sets}`);
});

test("a camera that lets a third of the defects through is found and named, in both languages", () => {
  const random = createRandom(5);
  const gaps = findGaps(
    drawPictures(random, 600, ({ camera }, label) => (camera === "camera-2" && label === "bad" ? 0.35 : 0.03)),
    0.5,
  );
  const camera = gaps.find(({ column }) => column === "camera");
  assert.equal(camera?.worstGap?.value, "camera-2");
  assert.equal(camera?.worstGap?.rate, "escapeRate");
  assert.ok(camera?.worstGap?.beyondChance && camera.worstGap.interval.low > 0.05 && camera.worstGap.gap > 0.2);
  assert.match(camera?.sentence.en ?? "", /camera = camera-2 has [\d.]+ points more escapes than all others .* more than chance/);
  assert.match(camera?.sentence.ja ?? "", /camera=camera-2の見逃し率はほかより[\d.]+ポイント高く/);
  const two = camera?.slices.find(({ value }) => value === "camera-2");
  assert.ok(two && two.escapeRate.low < (two.escapeRate.value as number) && two.escapeRate.high > (two.escapeRate.value as number));
  assert.match(gaps.find(({ column }) => column === "shift")?.sentence.en ?? "", /no gap beyond chance/);
});

test("slices of few pictures are no ground to say anything, and a column of one value is none", () => {
  const few: SlicedPicture[] = Array.from({ length: 8 }, (_, i) => ({
    score: 0.9,
    label: i % 2 === 0 ? "good" : "bad",
    columns: { lot: `lot-${i}`, site: "one" },
  }));
  const [lot, ...others] = findGaps(few, 0.5);
  assert.equal(others.length, 0);
  assert.equal(lot?.worstGap, null);
  assert.match(lot?.sentence.en ?? "", /too few pictures/);
});

test("brightness falls into thirds, and pictures of one light into one", () => {
  assert.deepEqual(brightnessSlices([10, 200, 90, 20, 100, 210]), ["dark", "bright", "middle", "dark", "middle", "bright"]);
  assert.equal(new Set(brightnessSlices([7, 7, 7, 7])).size, 1);
});

test("each label is covered as often as promised, whether calibrated apart or each against all others, also by a bad model", () => {
  const random = createRandom(6);
  for (const apart of [0, 1.5]) {
    const draw = (count: number) =>
      Array.from({ length: count }, (_, i): Scored => {
        const bad = i % 4 === 0; // three good to one defective: each label still has its own promise
        return { label: bad ? "bad" : "good", score: 1 / (1 + Math.exp(-(random.normal() + (bad ? apart : 0)))) };
      });
    for (const [name, calibrate] of [
      ["split", () => draw(200)],
      ["leave-one-out", () => null],
    ] as const) {
      const totals = { good: 0, defective: 0 };
      for (let round = 0; round < 120; round++) {
        const { coverage } = coverageOf(draw(200), calibrate(), 0.1);
        totals.good += (coverage.good as number) / 120;
        totals.defective += (coverage.defective as number) / 120;
      }
      for (const [label, covered] of Object.entries(totals)) {
        assert.ok(covered > 0.885 && covered < 0.94, `${name}, ${label}, ${apart} apart: ${covered}`);
      }
    }
  }
});

test("a model that knows decides nearly alone; with three pictures to calibrate by, no set may leave a label out", () => {
  const sure = Array.from(
    { length: 80 },
    (_, i): Scored => ({ label: i % 2 === 0 ? "good" : "bad", score: i % 2 === 0 ? i / 1000 : 1 - i / 1000 }),
  );
  const { coverage, decidedRatio } = coverageOf(sure, null, 0.1);
  assert.ok((decidedRatio as number) > 0.85 && (coverage.overall as number) >= 0.9, `${decidedRatio}`);
  const few = coverageOf(sure, sure.slice(0, 6), 0.1);
  assert.deepEqual([few.coverage.overall, few.decidedRatio], [1, 0]);
});

type Columns = { camera: string; shift: string; lot: string };

function drawPictures(random: Random, count: number, wrong: (columns: Columns, label: Scored["label"]) => number): SlicedPicture[] {
  return Array.from({ length: count }, (_, i) => {
    const label = i % 2 === 0 ? "good" : "bad";
    const columns = { camera: `camera-${random.int(4)}`, shift: random.pick(["early", "late", "night"]), lot: `lot-${random.int(8)}` };
    const isWrong = random.next() < wrong(columns, label);
    return { label, columns, score: (label === "bad") !== isWrong ? 0.9 : 0.1 };
  });
}
