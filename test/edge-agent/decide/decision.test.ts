/** From a score to what the line can act on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decide } from "../../../edge-agent/src/decide/decision.ts";

const THRESHOLDS = { pass: 0.4, fail: 0.6, cut: 0.5, chosenBy: "a test" };

test("a score fails from the upper threshold on, passes below the lower one, and is unknown between them", () => {
  assert.deepEqual(decide(0.6, null, THRESHOLDS), { outcome: "fail", predictionSet: ["bad"], coverage: null });
  assert.deepEqual(decide(0.399, null, THRESHOLDS), { outcome: "pass", predictionSet: ["good"], coverage: null });
  for (const score of [0.4, 0.5, 0.599]) {
    const either = { outcome: "unknown", reason: "undecided-band", predictionSet: ["good", "bad"], coverage: null };
    assert.deepEqual(decide(score, null, THRESHOLDS), either);
  }
});

test("one cut for both thresholds leaves nothing undecided", () => {
  const cut = { ...THRESHOLDS, pass: 0.5, fail: 0.5 };
  fc.assert(fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (score) => decide(score, null, cut).outcome !== "unknown"));
});

test("whatever cannot be trusted is unknown with its reason, whatever the score says", () => {
  fc.assert(
    fc.property(fc.option(fc.double({ min: 0, max: 1, noNaN: true })), (score) => {
      const decision = decide(score, "camera-frozen", THRESHOLDS);
      return decision.outcome === "unknown" && decision.reason === "camera-frozen" && decision.predictionSet.length === 2;
    }),
  );
  assert.equal(decide(null, null, THRESHOLDS).outcome, "unknown");
});

test("a verdict carries the coverage that its thresholds promise, and a frame of something else is neither good nor bad and has none", () => {
  const good = { alpha: 0.1, kept: true, samples: 40, missing: 0 };
  const promise = { method: "conformal" as const, good, bad: { ...good, alpha: 0.05 }, confidence: null, coverage: 0.9, references: 0 };
  const promised = { ...THRESHOLDS, promise };
  for (const score of [0.1, 0.5, 0.9]) assert.equal(decide(score, null, promised).coverage, 0.9);
  assert.deepEqual(decide(0.1, "out-of-domain", promised), {
    outcome: "unknown",
    reason: "out-of-domain",
    predictionSet: [],
    coverage: null,
  });
});
