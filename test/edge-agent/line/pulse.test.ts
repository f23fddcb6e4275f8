/** When a station says that it is ready, and when its heart beats. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Pulse } from "../../../edge-agent/src/line/pulse.ts";

test("the heart beats only once every camera and the inspector have shown life since the last beat", () => {
  const { pulse, state } = standing();
  assert.equal(pulse.beat(), 1);
  state.now = 10;
  assert.equal(pulse.beat(), 1); // time alone moves nothing
  state.repliedAt = 10;
  assert.equal(pulse.beat(), 1);
  state.top.pictureAt = 10;
  assert.equal(pulse.beat(), 2);
  state.now = 20;
  state.top.pictureAt = 20;
  assert.equal(pulse.beat(), 2); // the inspector hangs
});

test("a station is not ready while its inspector is silent, or a camera stale or paused, and says which", () => {
  const { pulse, state } = standing();
  assert.deepEqual([pulse.isReady, pulse.faults], [true, []]);
  state.now = 801;
  assert.deepEqual(pulse.faults, ["inspector-silent"]);
  state.repliedAt = 801;
  state.top.isFresh = false;
  assert.deepEqual(pulse.faults, ["top-stale"]);
  state.top.isFresh = true;
  state.top.isPaused = true;
  assert.deepEqual([pulse.isReady, pulse.faults], [false, ["top-paused"]]);
  const before = pulse.beat();
  state.now = 900;
  state.repliedAt = 900;
  state.top.pictureAt = 900;
  assert.equal(pulse.beat(), before);
});

function standing() {
  const top = { name: "top", pictureAt: 0, isFresh: true, isPaused: false };
  const files = { name: "files", pictureAt: null, isFresh: true, isPaused: false };
  const state = { now: 0, repliedAt: 0, top };
  const pulse = new Pulse({ repliedAt: () => state.repliedAt, cameras: () => [top, files], aliveMs: 800, now: () => state.now });
  return { pulse, state };
}
