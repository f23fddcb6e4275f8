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

test("the curve counts what is there, and nothing where a label is missing", () => {
  const curve = tradeOff({ good: [0.1, 0.2, 0.7], bad: [] });
  assert.equal(curve.length, 101);
  assert.deepEqual(curve[50], { cut: 0.5, overkill: 1 / 3, escape: null });
});
