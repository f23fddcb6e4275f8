/** What of a frame may leave the device. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Region } from "@kenpin/schema";
import fc from "fast-check";
import { regionBox } from "../../../edge-agent/src/samples/evidence.ts";

test("a region lies inside the picture and shows at most half of it", () => {
  const size = fc.integer({ min: 1, max: 4000 });
  const part = fc.double({ min: 0, max: 1, noNaN: true });
  const places = fc.array(fc.tuple(part, part, part, part), { maxLength: 5 });
  fc.assert(
    fc.property(size, size, places, (width, height, boxes) => {
      const regions = boxes.map(
        ([x, y, w, h]): Region => ({ x: x * width, y: y * height, width: w * (1 - x) * width, height: h * (1 - y) * height, score: 1 }),
      );
      const box = regionBox({ regions, width, height });
      assert.ok([box.left, box.top, box.width, box.height].every(Number.isInteger));
      assert.ok(box.left >= 0 && box.top >= 0 && box.width >= 1 && box.height >= 1);
      assert.ok(box.left + box.width <= width && box.top + box.height <= height);
      if (width > 2 && height > 2) assert.ok(box.width * box.height <= (width * height) / 2);
    }),
  );
});

test("a region holds the hottest spot with some surroundings, and the middle where nothing is hot", () => {
  const hot = { x: 10, y: 80, width: 10, height: 10, score: 3 };
  const box = regionBox({ regions: [hot], width: 100, height: 100 });
  assert.ok(box.left <= 10 && box.left + box.width >= 20 && box.top <= 80 && box.top + box.height >= 90);
  assert.ok(box.width > 10 && box.width < 30);
  assert.deepEqual(regionBox({ regions: [], width: 100, height: 100 }), { left: 15, top: 15, width: 70, height: 70 });
});
