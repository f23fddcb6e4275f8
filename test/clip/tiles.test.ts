/** Frames of any size become tiles: at their own resolution where that is few enough, shrunk or enlarged where not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeWithin, tiledSize, tileFrame, tilePlaces } from "@kenpin/clip";
import type { Preprocess } from "@kenpin/schema";
import fc from "fast-check";
import sharp from "sharp";

const PREPROCESS: Preprocess = { tilePx: 32, overlapPx: 8, maxTiles: 12, mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.5] };

test("every pixel lies in a tile, no tile reaches past the frame, and neighbours overlap as much as was asked", () => {
  const side = fc.integer({ min: 32, max: 300 });
  fc.assert(
    fc.property(side, side, fc.integer({ min: 0, max: 16 }), (width, height, overlapPx) => {
      const places = tilePlaces({ width, height }, { ...PREPROCESS, overlapPx });
      const columns = [...new Set(places.map(({ x }) => x))];
      assert.deepEqual([columns[0], columns.at(-1)], [0, width - 32]);
      for (const [i, x] of columns.entries()) if (i > 0) assert.ok((columns[i - 1] as number) + 32 - x >= overlapPx);
      for (const { x, y } of places) assert.ok(x + 32 <= width && y + 32 <= height);
    }),
  );
});

test("no frame makes more tiles than allowed, not even a line of pixels; few enough are left as they are", () => {
  const side = fc.integer({ min: 1, max: 20_000 });
  fc.assert(
    fc.property(side, side, (width, height) => {
      const size = tiledSize({ width, height }, PREPROCESS);
      assert.ok(tilePlaces(size, PREPROCESS).length <= PREPROCESS.maxTiles, `${size.width} × ${size.height}`);
      assert.ok(size.width >= 1 && size.height >= 1);
      const few = Math.min(width, height) >= 32 && tilePlaces({ width, height }, PREPROCESS).length <= PREPROCESS.maxTiles;
      if (few) assert.deepEqual(size, { width, height });
      // Of its own proportions, but for rounding to whole pixels.
      const [across, down] = [size.width / width, size.height / height];
      assert.ok(Math.abs(across - down) <= 1 / Math.min(width, height) + 0.02 * Math.max(across, down), `${across} ${down}`);
    }),
  );
  assert.deepEqual(tiledSize({ width: 1, height: 1 }, PREPROCESS), { width: 32, height: 32 });
  assert.deepEqual(tiledSize({ width: 16, height: 40 }, PREPROCESS), { width: 32, height: 80 });
});

test("a tile holds the frame's own pixels, normalised, plane by plane; what lacks of it is the mean", async () => {
  const [width, height] = [50, 40];
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7) % 256);
  const { pixelValues, count, places } = await tileFrame({ width, height, data }, PREPROCESS);
  assert.equal(count, 4);
  for (const [tile, { x, y }] of places.entries()) {
    for (const [channel, row, column] of [
      [0, 0, 0],
      [1, 5, 17],
      [2, 31, 31],
    ] as const) {
      const value = data[((y + row) * width + x + column) * 3 + channel] as number;
      const expected = (value / 255 - (PREPROCESS.mean[channel] as number)) / (PREPROCESS.std[channel] as number);
      const actual = pixelValues[((tile * 3 + channel) * 32 + row) * 32 + column] as number;
      assert.ok(Math.abs(actual - expected) < 1e-5, `${actual}, ${expected}`);
    }
  }
  const line = await tileFrame({ width: 1, height: 4000, data: new Uint8Array(12_000).fill(255) }, PREPROCESS);
  assert.ok(line.count <= 12 && line.width < 32);
  assert.ok((line.pixelValues[0] as number) > 2 && line.pixelValues[line.width] === 0);
});

test("pixel values may be written over by the next frame's, whose missing pixels are the mean again", async () => {
  const grey = (width: number, height: number) => ({ width, height, data: new Uint8Array(width * height * 3).fill(99) });
  const first = await tileFrame(grey(32, 700), PREPROCESS);
  const line = grey(1, 4000);
  const second = await tileFrame(line, PREPROCESS, { reuse: first.pixelValues });
  assert.deepEqual(second, await tileFrame(line, PREPROCESS));
  if (second.count === first.count) assert.equal(second.pixelValues, first.pixelValues);
  const square = grey(50, 50);
  const [again, other] = [await tileFrame(square, PREPROCESS), await tileFrame(square, PREPROCESS)];
  assert.equal((await tileFrame(square, PREPROCESS, { reuse: again.pixelValues })).pixelValues, again.pixelValues);
  assert.notEqual(other.pixelValues, again.pixelValues);
});

test("a frame that is shrunk while it is unpacked makes the tiles it would make if it were unpacked whole", async () => {
  const [width, height] = [400, 300];
  const wave = (i: number) => 128 + 100 * Math.sin((Math.floor(i / 3) % width) / 23) * Math.cos(i / 3 / width / 17);
  const pixels = Buffer.from(Uint8Array.from({ length: width * height * 3 }, (_, i) => wave(i)));
  const raw = sharp(pixels, { raw: { width, height, channels: 3 } });
  for (const bytes of [await raw.clone().png().toBuffer(), await raw.clone().jpeg({ quality: 100 }).toBuffer()]) {
    const { image, size } = await decodeWithin(bytes, (own) => tiledSize(own, PREPROCESS));
    assert.deepEqual(size, { width, height });
    assert.ok(image.width < 150 && image.height < 150);
    const [shrunk, whole] = [
      await tileFrame(image, PREPROCESS, { own: size }),
      await tileFrame((await decodeWithin(bytes, (own) => own)).image, PREPROCESS),
    ];
    assert.deepEqual(shrunk.places, whole.places);
    const off = shrunk.pixelValues.reduce((most, value, i) => Math.max(most, Math.abs(value - (whole.pixelValues[i] as number))), 0);
    assert.ok(off < 0.06, `${off}`); // 0.06 deviations are 3 of 255 levels
  }
});
