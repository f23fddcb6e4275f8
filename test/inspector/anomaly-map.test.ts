/** One map from many tiles: no seam, no hole, hot where the tile was hot, and boxes in the frame's own pixels. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { tilePlaces, type Tiles } from "@kenpin/clip";
import type { Preprocess } from "@kenpin/schema";
import fc from "fast-check";
import { regionsOf, stitch } from "../../packages/inspector/src/anomaly-map.ts";

const TILE = 80;
const GRID = 10;
const CELL = TILE / GRID;

function tiling(width: number, height: number, overlapPx = 16): Tiles {
  const preprocess: Preprocess = { tilePx: TILE, overlapPx, maxTiles: 256, mean: [0, 0, 0], std: [1, 1, 1] };
  const places = tilePlaces({ width, height }, preprocess);
  return { pixelValues: new Float32Array(), count: places.length, places, scale: 1, width, height };
}

/** Each tile's patches take the value at their middle in the frame. */
function valuesOf(tiles: Tiles, at: (x: number, y: number) => number): Float32Array {
  const patches = Array.from({ length: GRID * GRID }, (_, p) => [(p % GRID) * CELL + CELL / 2, Math.floor(p / GRID) * CELL + CELL / 2]);
  return Float32Array.from(tiles.places.flatMap(({ x, y }) => patches.map(([px, py]) => at(x + (px as number), y + (py as number)))));
}

const size = fc.integer({ min: TILE, max: 400 });

test("a constant map stays constant, whatever the frame's size and the tiles' overlap: no seam, no empty edge", () => {
  fc.assert(
    fc.property(size, size, fc.integer({ min: 0, max: 40 }), (width, height, overlapPx) => {
      const tiles = tiling(width, height, overlapPx);
      const { columns, rows, values } = stitch(
        valuesOf(tiles, () => -3),
        tiles,
        TILE,
      );
      assert.equal(values.length, columns * rows);
      for (const value of values) assert.ok(Math.abs(value + 3) < 1e-5, `${value} in ${width} × ${height}`);
    }),
  );
});

test("a slope stays a slope: neighbouring cells of two tiles differ by no more than within one", () => {
  const tiles = tiling(250, 170);
  const { columns, rows, values } = stitch(
    valuesOf(tiles, (x) => x / CELL),
    tiles,
    TILE,
  );
  for (let row = 0; row < rows; row++) {
    for (let column = 1; column < columns; column++) {
      const step = (values[row * columns + column] as number) - (values[row * columns + column - 1] as number);
      assert.ok(step > 0.2 && step < 1.8, `${step} at column ${column}`);
    }
  }
});

test("a spot is found where it lies, within a patch, and its box stays inside the frame", () => {
  fc.assert(
    fc.property(
      size,
      size,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (width, height, u, v) => {
        const [spotX, spotY] = [12 + u * (width - 24), 12 + v * (height - 24)];
        const tiles = tiling(width, height);
        const near = (x: number, y: number) => (Math.hypot(x - spotX, y - spotY) < 12 ? 5 : -5);
        const [region, ...others] = regionsOf(stitch(valuesOf(tiles, near), tiles, TILE), 0, 1);
        assert.ok(region && others.length === 0);
        const { x, y, width: across, height: down } = region;
        assert.ok(Math.abs(x + across / 2 - spotX) <= 1.5 * CELL && Math.abs(y + down / 2 - spotY) <= 1.5 * CELL);
        assert.ok(x >= 0 && y >= 0 && x + across <= width && y + down <= height, `${x + across} of ${width}, ${y + down} of ${height}`);
      },
    ),
  );
});

test("cells that touch by a side are one region, by a corner two; the hottest come first, five at most", () => {
  const map = (rows: string[]) => ({
    columns: rows[0]?.length ?? 0,
    rows: rows.length,
    cellPx: 8,
    values: Float32Array.from(rows.join(""), (digit) => (digit === "." ? -1 : Number(digit))),
  });
  assert.deepEqual(regionsOf(map(["11..", ".1..", "..3."]), 0, 1), [
    { x: 16, y: 16, width: 8, height: 8, score: 3 },
    { x: 0, y: 0, width: 16, height: 16, score: 1 },
  ]);
  const scores = regionsOf(map(["1.2.3.4.5.6.7"]), 0, 1).map(({ score }) => score);
  assert.deepEqual(scores, [7, 6, 5, 4, 3]);
  assert.deepEqual(regionsOf(map(["...", "..."]), 0, 1), []);
  assert.deepEqual(regionsOf(map(["0.."]), 0, 1).length, 1, "at the level is in");
  const ring = regionsOf(map(["1111", "1..1", "1111"]), 0, 1);
  assert.deepEqual(ring, [{ x: 0, y: 0, width: 32, height: 24, score: 1 }]);
});

test("boxes of a frame that was resized for tiling are in the pixels of the original", () => {
  const map = { columns: 3, rows: 1, cellPx: 8, values: Float32Array.of(-1, 1, -1) };
  assert.deepEqual(regionsOf(map, 0, 0.5), [{ x: 16, y: 0, width: 16, height: 16, score: 1 }]);
});
