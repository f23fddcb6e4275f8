/** When a camera's picture is not to be trusted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FrameStats } from "@kenpin/inspector";
import { CameraWatch } from "../../../edge-agent/src/watch/camera-watch.ts";

const SHARP = { mean: 120, contrast: 40, sharpness: 20 };

test("a dark and flat picture is black, a dark one with a part in it is not", () => {
  const watch = new CameraWatch();
  assert.equal(judge(watch, "a", { mean: 2, contrast: 1, sharpness: 0.5 }), "camera-black");
  assert.equal(judge(watch, "b", { mean: 8, contrast: 30, sharpness: 12 }), null);
});

test("a blown-out picture is over-exposed, a bright one with a part in it is not", () => {
  const watch = new CameraWatch();
  assert.equal(judge(watch, "a", { mean: 253, contrast: 3, sharpness: 0.2 }), "camera-overexposed");
  assert.equal(judge(watch, "b", { mean: 246, contrast: 30, sharpness: 12 }), null);
});

test("another product than was taught is out of domain, a defect over the whole part is not", () => {
  const watch = new CameraWatch();
  assert.equal(judge(watch, "other", SHARP, 1.8), "out-of-domain");
  assert.equal(judge(watch, "changed weave", SHARP, 1.3), null);
  assert.equal(judge(watch, "nothing was taught", SHARP, null), null);
});

test("the same bytes are frozen the third time in a row, and not when another frame came between", () => {
  const watch = new CameraWatch();
  const said = ["a", "a", "b", "a", "a", "a", "a", "b"].map((digest) => judge(watch, digest, SHARP));
  assert.deepEqual(said, [null, null, null, null, null, "camera-frozen", "camera-frozen", null]);
});

test("frames that could not be read count for frozen too", () => {
  const watch = new CameraWatch();
  assert.deepEqual(
    [1, 2, 3].map(() => judge(watch, "a", null)),
    [null, null, "camera-frozen"],
  );
});

test("a lens that slipped is blurred however long it lasts, and never on the first frames", () => {
  const watch = new CameraWatch();
  assert.equal(judge(watch, "first", { ...SHARP, sharpness: 0.1 }), null);
  watch.forget();
  for (let i = 0; i < 25; i++) assert.equal(judge(watch, `sharp ${i}`, { ...SHARP, sharpness: 18 + (i % 5) }), null);
  assert.equal(judge(watch, "smoother part", { ...SHARP, sharpness: 8 }), null);
  for (let i = 0; i < 200; i++) assert.equal(judge(watch, `soft ${i}`, { ...SHARP, sharpness: 2 }), "camera-blurred");
  assert.equal(judge(watch, "mended", SHARP), null);
  watch.forget();
  assert.equal(judge(watch, "another lens", { ...SHARP, sharpness: 2 }), null);
});

test("a frame that is tried again because its verdict could not be kept is not frozen", () => {
  const watch = new CameraWatch();
  const frame = { sha256: "a", triggerId: "1", modifiedNs: "1" };
  for (let i = 0; i < 10; i++) assert.equal(watch.judge(frame, { stats: SHARP, strangeness: null }), null);
});

let delivered = 0;

function judge(watch: CameraWatch, sha256: string, stats: FrameStats | null, strangeness: number | null = null) {
  return watch.judge({ sha256, triggerId: String(++delivered), modifiedNs: "1" }, stats && { stats, strangeness });
}
