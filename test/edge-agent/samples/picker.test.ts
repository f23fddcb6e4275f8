/** Which frames are worth learning from, and that a random draw knows nothing of the picture. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Inspection } from "@kenpin/inspector";
import type { Sampling, Scoring, Thresholds } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { SamplePicker } from "../../../edge-agent/src/samples/picker.ts";

const THRESHOLDS: Thresholds = { pass: 0.4, fail: 0.6, cut: 0.5, chosenBy: "a test" };
const SCORING: Scoring = {
  topRatio: 0.1,
  imageWeight: 0,
  textScale: 1,
  textBias: 0,
  bankWeight: 0.5,
  bankScale: 1,
  bankCut: 3,
  recentreText: false,
  tokenWindow: 1,
  patches: { textScale: 1, textBias: 0, referenceScale: 1, referenceCut: 2 },
};

const PARTS = { thresholds: THRESHOLDS, scoring: SCORING, takeOffer: () => false };

test("frames are drawn with the announced probability, whether they are odd or not", () => {
  const frames = 20_000;
  const randomRatio = 0.2;
  for (const score of [0.01, 0.5]) {
    const picker = make({ randomRatio });
    let drawn = 0;
    for (let i = 0; i < frames; i++) if (pick(picker, { score }) === "random") drawn++;
    // Five standard deviations of a binomial draw.
    const slack = 5 * Math.sqrt(frames * randomRatio * (1 - randomRatio));
    assert.ok(Math.abs(drawn - frames * randomRatio) < slack, `${drawn} of ${frames} at score ${score}`);
  }
});

test("the same seed draws the same frames whatever they show", () => {
  const draws = (score: (i: number) => number) => {
    const picker = make({ randomRatio: 0.3, undecided: false, surprising: false });
    return Array.from({ length: 500 }, (_, i) => pick(picker, { score: score(i) }));
  };
  assert.deepEqual(
    draws(() => 0.5),
    draws((i) => (i % 7) / 7),
  );
});

test("undecided are scores in the band or near the cut, and none where it is switched off", () => {
  const narrow = { ...THRESHOLDS, pass: 0.5, fail: 0.5 };
  const on = make({});
  assert.equal(pick(on, { score: 0.41 }), "undecided");
  assert.equal(pick(on, { score: 0.6 }), null);
  assert.equal(on.pick("line", inspection({ score: 0.53 }), { ...PARTS, thresholds: narrow }), "undecided");
  assert.equal(on.pick("line", inspection({ score: 0.56 }), { ...PARTS, thresholds: narrow }), null);
  assert.equal(pick(make({ undecided: false }), { score: 0.5 }), null);
});

test("words and memory bank that contradict each other surprise; a little doubt does not", () => {
  const picker = make({ undecided: false });
  assert.equal(pick(picker, { score: 0.9, textLogit: 4, bankZ: 0.5 }), "surprising");
  assert.equal(pick(picker, { score: 0.9, textLogit: -4, bankZ: 6 }), "surprising");
  assert.equal(pick(picker, { score: 0.9, textLogit: 4, bankZ: 6 }), null);
  assert.equal(pick(picker, { score: 0.9, textLogit: 4, bankZ: 2.5 }), null);
  assert.equal(pick(picker, { score: 0.9, textLogit: 4, bankZ: null }), null);
});

test("a score far from the camera's recent ones surprises, once there are recent ones", () => {
  const picker = make({ undecided: false });
  const random = createRandom(3);
  assert.equal(pick(picker, { score: 0.999 }), null);
  for (let i = 0; i < 40; i++) assert.equal(pick(picker, { score: random.between(0.04, 0.06) }), null);
  assert.equal(pick(picker, { score: 0.9 }), "surprising");
  assert.equal(picker.pick("audit", inspection({ score: 0.9 }), PARTS), null, "each camera has its own past");
});

test("a frame that drift offers is taken where that is allowed, unless there is another reason for it", () => {
  const offering = (picker: SamplePicker, seen: Partial<Inspection>) =>
    picker.pick("line", inspection(seen), { ...PARTS, takeOffer: () => true });
  assert.equal(offering(make({}), { score: 0.1 }), "drifting");
  assert.equal(offering(make({}), { score: 0.5 }), "undecided");
  assert.equal(offering(make({ randomRatio: 1 }), { score: 0.1 }), "random");
  assert.equal(offering(make({ drifting: false }), { score: 0.1 }), null);
});

function make(sampling: Partial<Sampling>): SamplePicker {
  return new SamplePicker({ randomRatio: 0, undecided: true, surprising: true, drifting: true, perDay: 100, ...sampling }, createRandom(1));
}

function pick(picker: SamplePicker, seen: Partial<Inspection>) {
  return picker.pick("line", inspection(seen), PARTS);
}

function inspection(seen: Partial<Inspection>): Inspection {
  return {
    width: 10,
    height: 10,
    score: 0,
    textLogit: 0,
    bankZ: null,
    referenceZ: null,
    strangeness: null,
    prompt: "",
    regions: [],
    stats: { mean: 100, contrast: 30, sharpness: 10, clipped: 0, colour: { red: 0, blue: 0 } },
    ms: { decode: 0, preprocess: 0, infer: 0, map: 0 },
    ...seen,
  };
}
