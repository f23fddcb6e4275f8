/** Where to cut, and what may be said of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseThresholds, tradeOff } from "@kenpin/inspector";
import { Thresholds } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";

const CURRENT = { pass: 0.35, cut: 0.5, fail: 0.65, chosenBy: "a test" };
const random = createRandom(3);
const scores = (n: number, low: number, high: number) => Array.from({ length: n }, () => random.between(low, high));

test("with enough of both labels both promises are given, and parts between the cuts go to a person", () => {
  const [good, bad] = [scores(60, 0, 0.6), scores(60, 0.4, 1)];
  const chosen = Thresholds.parse(chooseThresholds({ good, bad }, CURRENT));
  assert.ok(chosen.pass < chosen.cut && chosen.cut <= chosen.fail);
  assert.ok(bad.filter((score) => score < chosen.pass).length / bad.length <= 0.05);
  assert.ok(good.filter((score) => score >= chosen.fail).length / good.length <= 0.1);
  assert.equal(chosen.promise?.method, "conformal");
  assert.equal(chosen.promise?.coverage, 0.9);
});

test("labels that lie far apart leave nothing to a person", () => {
  const { pass, cut, fail, promise } = chooseThresholds({ good: scores(40, 0, 0.2), bad: scores(40, 0.8, 1) }, CURRENT);
  assert.ok(pass === cut && cut === fail && cut > 0.2 && cut < 0.8);
  assert.equal(promise?.coverage, 0.9);
});

test("from good frames alone a cut is chosen, and it says how many bad samples are wanting for a promise", () => {
  const good = scores(30, 0, 0.4);
  const chosen = chooseThresholds({ good, bad: [] }, CURRENT);
  assert.equal(chosen.promise?.method, "good-only");
  assert.ok(good.filter((score) => score >= chosen.fail).length <= 3);
  assert.deepEqual(chosen.promise?.bad, { alpha: 0.05, kept: false, samples: 0, missing: 19 });
  assert.equal(chosen.promise?.coverage, null);
  assert.match(chosen.chosenBy, /tolerance limit of 30 good/);
});

test("good frames of one and the same score pass", () => {
  const { fail } = chooseThresholds({ good: [0.02, 0.02, 0.02], bad: [] }, CURRENT);
  assert.ok(fail > 0.02 && fail < 0.03);
});

test("a handful of good frames gives a stopgap that is called one, and nothing at all leaves the cuts as they were", () => {
  const few = chooseThresholds({ good: scores(6, 0, 0.3), bad: [] }, CURRENT);
  assert.equal(few.promise?.method, "normal-limit");
  assert.match(few.chosenBy, /stopgap until there are 9/);
  const none = chooseThresholds({ good: [], bad: [] }, CURRENT);
  assert.deepEqual([none.pass, none.cut, none.fail, none.chosenBy], [0.35, 0.5, 0.65, "a test"]);
  assert.deepEqual([none.promise?.method, none.promise?.good.missing], ["none", 9]);
});

test("enough bad samples promise that few escape, also where good ones are wanting", () => {
  const { pass, fail, promise } = chooseThresholds({ good: [0.1], bad: scores(25, 0.5, 1) }, CURRENT);
  assert.ok(pass >= 0.5 && fail >= pass);
  assert.deepEqual([promise?.method, promise?.bad.kept, promise?.good.kept, promise?.coverage], ["conformal", true, false, null]);
});

test("cuts that were learned from both labels stay where they are as far as the promises let them", () => {
  const learned = { alphaBad: 0.05, alphaGood: 0.1, confidence: null, learned: true };
  const few = chooseThresholds({ good: scores(60, 0, 0.1), bad: scores(10, 0.9, 1) }, CURRENT, learned);
  assert.deepEqual([few.pass, few.cut, few.fail], [0.35, 0.5, 0.65], "a limit far below moves nothing");
  assert.deepEqual([few.promise?.method, few.promise?.good.kept, few.promise?.bad.missing], ["good-only", true, 9]);
  assert.match(few.chosenBy, /^a test; a tolerance limit of 60 good samples$/);
  const hard = chooseThresholds({ good: scores(60, 0, 0.9), bad: [] }, CURRENT, learned);
  assert.ok(hard.cut === 0.5 && hard.fail > 0.65);
  const apart = chooseThresholds({ good: scores(60, 0, 0.2), bad: scores(60, 0.6, 1) }, CURRENT, learned);
  assert.deepEqual([apart.pass, apart.cut, apart.fail], [0.5, 0.5, 0.5]);
  const none = chooseThresholds({ good: scores(5, 0, 0.2), bad: [] }, CURRENT, learned);
  assert.deepEqual([none.cut, none.promise?.method], [0.5, "none"]);
});

test("good samples too few for the confidence asked for give their highest, with the confidence it truly has", () => {
  const good = scores(20, 0, 0.4);
  const chosen = Thresholds.parse(chooseThresholds({ good, bad: [] }, CURRENT, { alphaBad: 0.05, alphaGood: 0.1, confidence: 0.95 }));
  assert.ok(good.every((score) => score < chosen.fail));
  assert.match(chosen.chosenBy, /highest of 20 good samples, a limit with 87.8 % confidence, a stopgap until there are 29/);
  assert.deepEqual(chosen.promise?.good, { alpha: 0.1, kept: false, samples: 20, missing: 9 });
});

test("over a thousand calibrations few bad parts pass and few good ones are stopped, as promised, with ties and where labels overlap", () => {
  const factory = createRandom(12);
  const draw = (label: "good" | "bad") => Math.round(200 / (1 + Math.exp(-(factory.normal() + (label === "bad" ? 1.2 : -1.2))))) / 200;
  const parts = (label: "good" | "bad", n: number) => Array.from({ length: n }, () => draw(label));
  const wrong = { bad: [] as number[], good: [] as number[] };
  for (let calibration = 0; calibration < 1000; calibration++) {
    const { pass, fail } = chooseThresholds({ good: parts("good", 40), bad: parts("bad", 30) }, CURRENT);
    wrong.bad.push(parts("bad", 50).filter((score) => score < pass).length / 50);
    wrong.good.push(parts("good", 50).filter((score) => score >= fail).length / 50);
  }
  for (const [label, alpha] of [
    ["bad", 0.05],
    ["good", 0.1],
  ] as const) {
    const mean = wrong[label].reduce((sum, share) => sum + share, 0) / 1000;
    const error = Math.sqrt(wrong[label].reduce((sum, share) => sum + (share - mean) ** 2, 0) / 999 / 1000);
    assert.ok(mean <= alpha + 2 * error && mean > 0, `${label}: ${mean} ± ${error}`);
  }
});

test("the curve counts what is there, and nothing where a label is missing", () => {
  const curve = tradeOff({ good: [0.1, 0.2, 0.7], bad: [] });
  assert.equal(curve.length, 101);
  assert.deepEqual(curve[50], { cut: 0.5, overkill: 1 / 3, escape: null });
});
