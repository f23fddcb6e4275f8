/** The region of interest: what lies outside of it is gone before anything else sees the frame. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Camera } from "@kenpin/schema";
import sharp from "sharp";
import { liveFrame } from "../../../edge-agent/src/capture/live-frame.ts";
import { cutToRegion } from "../../../edge-agent/src/capture/region.ts";

const REGION = { x: 3, y: 2, width: 4, height: 5 };

test("a frame is cut to its camera's region, pixel by pixel", async () => {
  const data = Buffer.from(Array.from({ length: 12 * 10 * 3 }, (_, i) => (i * 7) % 256));
  const png = await sharp(data, { raw: { width: 12, height: 10, channels: 3 } })
    .png()
    .toBuffer();
  const cut = await cutToRegion(frameOf(png));
  const { data: pixels, info } = await sharp(cut.bytes as Uint8Array)
    .raw()
    .toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [4, 5, 3]);
  for (let y = 0; y < 5; y++) {
    const from = ((y + REGION.y) * 12 + REGION.x) * 3;
    assert.deepEqual([...pixels.subarray(y * 12, y * 12 + 12)], [...data.subarray(from, from + 12)]);
  }
  assert.notEqual(cut.sha256, frameOf(png).sha256);
});

test("a picture that does not reach over the whole region, and one that is none, have nothing to look at", async () => {
  const small = await sharp({ create: { width: 6, height: 6, channels: 3, background: "grey" } })
    .jpeg()
    .toBuffer();
  for (const bytes of [small, Buffer.from("no picture"), Buffer.alloc(0)]) {
    const { bytes: left, unseen } = await cutToRegion(frameOf(bytes));
    assert.deepEqual({ left, unseen }, { left: null, unseen: "frame-unreadable" });
  }
});

function frameOf(bytes: Uint8Array) {
  const camera = Camera.parse({ name: "line", source: { kind: "push" }, region: REGION });
  return liveFrame(camera, { trigger: null, isAsked: false, bytes });
}
