/** When a camera's picture is not to be trusted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FrameStats } from "@kenpin/inspector";
import { createRandom } from "@kenpin/stats";
import { CameraWatch } from "../../../edge-agent/src/watch/camera-watch.ts";

const SHARP: FrameStats = { mean: 120, contrast: 40, sharpness: 20, clipped: 0.01, colour: { red: 3, blue: -4 } };

test("a dark and flat picture is black, a dark one with a part in it is not", () => {
  const watch = new CameraWatch();
  assert.equal(judge(watch, "a", { ...SHARP, mean: 2, contrast: 1, sharpness: 0.5 }), "camera-black");
  assert.equal(judge(watch, "b", { ...SHARP, mean: 8, contrast: 30, sharpness: 12 }), null);
});

test("a blown-out picture is over-exposed, a bright one with a part in it is not", () => {
  const watch = new CameraWatch();
  assert.equal(judge(watch, "a", { ...SHARP, mean: 253, contrast: 3, sharpness: 0.2 }), "camera-overexposed");
  assert.equal(judge(watch, "b", { ...SHARP, mean: 246, contrast: 30, sharpness: 12 }), null);
});

test("another product than was taught is out of domain, a defect over the whole part is not", () => {
  const watch = new CameraWatch();
  assert.equal(judge(watch, "other", SHARP, 1.2), "out-of-domain");
  assert.equal(judge(watch, "changed weave", SHARP, 0.7), null);
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
  for (let i = 0; i < 10; i++) assert.equal(watch.judge(frame, { stats: SHARP, strangeness: null, width: 640, height: 480 }), null);
});

test("what is unlike all that the camera has shown is out of domain, dark or over-exposed, and does not become usual however long it lasts", () => {
  const random = createRandom(5);
  const watch = new CameraWatch();
  const usual = (i: number, other: Partial<FrameStats> = {}) => {
    const drift = (value: number, share: number) => value * (1 + share * random.normal());
    const { mean, contrast, sharpness } = SHARP;
    const stats = { ...SHARP, mean: drift(mean, 0.05), contrast: drift(contrast, 0.05), sharpness: drift(sharpness, 0.1) };
    return judge(watch, `usual ${i} ${JSON.stringify(other)}`, { ...stats, ...other });
  };
  assert.equal(usual(0, { contrast: 4 }), null, "at first nothing is usual");
  for (let i = 0; i < 100; i++) assert.equal(usual(i), null);
  for (let i = 0; i < 30; i++) {
    assert.equal(usual(i, { contrast: 4, sharpness: 11 }), "out-of-domain", "an empty belt");
    assert.equal(usual(i, { sharpness: 120 }), "out-of-domain", "a texture much finer");
    assert.equal(usual(i, { colour: { red: 60, blue: -30 } }), "out-of-domain", "another colour all over");
    assert.equal(usual(i, { mean: 15, contrast: 5, sharpness: 3 }), "camera-black", "the light is out");
    assert.equal(usual(i, { mean: 215, contrast: 40, clipped: 0.5 }), "camera-overexposed", "half of it is white");
    assert.equal(usual(i, { contrast: 30, sharpness: 2 }), "camera-blurred");
  }
  assert.equal(usual(0, { mean: 40, contrast: 25, sharpness: 8 }), null, "a part of a darker kind may be a bad part");
  assert.equal(usual(1, { contrast: 70, sharpness: 40 }), null, "a deep scratch");
});

test("a picture of another size than all before is out of domain, and none where sizes always differ", () => {
  const watch = new CameraWatch();
  const seen = (width: number) => ({ stats: SHARP, strangeness: null, width, height: 480 });
  const of = (width: number) => watch.judge({ sha256: String(delivered), triggerId: String(++delivered), modifiedNs: "1" }, seen(width));
  for (let i = 0; i < 20; i++) assert.equal(of(640), null);
  assert.equal(of(320), "out-of-domain");
  watch.forget();
  for (let i = 0; i < 20; i++) assert.equal(of(600 + i), null);
  assert.equal(of(320), null);
});

let delivered = 0;

function judge(watch: CameraWatch, sha256: string, stats: FrameStats | null, strangeness: number | null = null) {
  const seen = stats && { stats, strangeness, width: 640, height: 480 };
  return watch.judge({ sha256, triggerId: String(++delivered), modifiedNs: "1" }, seen);
}
