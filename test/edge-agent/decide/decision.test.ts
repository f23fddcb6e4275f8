/** From a score to what the line can act on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decide } from "../../../edge-agent/src/decide/decision.ts";

const THRESHOLDS = { pass: 0.4, fail: 0.6, cut: 0.5, chosenBy: "a test" };

test("a score fails from the upper threshold on, passes below the lower one, and is unknown between them", () => {
  assert.deepEqual(decide(0.6, null, THRESHOLDS), { outcome: "fail", predictionSet: ["bad"] });
  assert.deepEqual(decide(0.399, null, THRESHOLDS), { outcome: "pass", predictionSet: ["good"] });
  for (const score of [0.4, 0.5, 0.599]) {
    assert.deepEqual(decide(score, null, THRESHOLDS), { outcome: "unknown", reason: "undecided-band", predictionSet: ["good", "bad"] });
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
