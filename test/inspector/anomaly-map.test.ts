/** One map from many tiles: no seam, no hole, hot where the tile was hot, and boxes in the frame's own pixels. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { tilePlaces, type Tiles } from "@kenpin/clip";
import type { Preprocess } from "@kenpin/schema";
import fc from "fast-check";
import { enlargeMap, regionsOf, stitch } from "../../packages/inspector/src/anomaly-map.ts";

const TILE = 80;
const GRID = 10;
const CELL = TILE / GRID;

function tiling(width: number, height: number, overlapPx = 16): Tiles {
  const preprocess: Preprocess = { tilePx: TILE, overlapPx, maxTiles: 256, mean: [0, 0, 0], std: [1, 1, 1] };
  const places = tilePlaces({ width, height }, preprocess);
  return { pixelValues: new Float32Array(), count: places.length, places, width, height };
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

test("a smooth field comes out as it is, wherever tiles begin and overlap: between cells there is no seam", () => {
  const field = (x: number, y: number) => 0.02 * x - 0.03 * y + Math.sin(x / 60) + Math.cos(y / 50);
  fc.assert(
    fc.property(size, size, fc.integer({ min: 0, max: 40 }), (width, height, overlapPx) => {
      const tiles = tiling(width, height, overlapPx);
      const { columns, rows, values } = stitch(valuesOf(tiles, field), tiles, TILE);
      for (let row = 1; row < rows - 1; row++) {
        for (let column = 1; column < columns - 1; column++) {
          const [x, y] = [(column + 0.5) * CELL, (row + 0.5) * CELL];
          const inner = x > CELL && y > CELL && x < width - CELL && y < height - CELL;
          const off = Math.abs((values[row * columns + column] as number) - field(x, y));
          // Straight lines between patches miss a bend of 1/50² over 8 pixels by 0.003; what overlaps by less than a patch
          // is taken from a tile's last patch, at most half a patch away.
          assert.ok(!inner || off < (overlapPx > CELL ? 0.02 : 0.3), `${off} at ${x}, ${y} of ${width} × ${height}, overlap ${overlapPx}`);
        }
      }
    }),
  );
});

test("a tile that begins within a patch is interpolated, not shifted to the nearest one", () => {
  const tiles = {
    ...tiling(TILE + 4, TILE),
    places: [
      { x: 0, y: 0 },
      { x: 4, y: 0 },
    ],
  };
  const { values } = stitch(
    valuesOf(tiles, (x) => x),
    tiles,
    TILE,
  );
  for (let column = 1; column < 9; column++)
    assert.ok(Math.abs((values[column] as number) - (column + 0.5) * CELL) < 1e-4, `${values[column]}`);
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
        const [region, ...others] = regionsOf(stitch(valuesOf(tiles, near), tiles, TILE), 0, tiles);
        assert.ok(region && others.length === 0);
        const { x, y, width: across, height: down } = region;
        assert.ok(Math.abs(x + across / 2 - spotX) <= 1.5 * CELL && Math.abs(y + down / 2 - spotY) <= 1.5 * CELL);
        assert.ok(x >= 0 && y >= 0 && x + across <= width && y + down <= height, `${x + across} of ${width}, ${y + down} of ${height}`);
      },
    ),
  );
});

test("cells that touch, by a side or a corner, are one region, and so is what lies within another's box; the hottest first, five at most", () => {
  assert.deepEqual(found(["11...", ".1...", "..3..", ".....", "....2"]), [
    { x: 0, y: 0, width: 24, height: 24, score: 3 },
    { x: 32, y: 32, width: 8, height: 8, score: 2 },
  ]);
  assert.deepEqual(
    found(["1.2.3.4.5.6.7"]).map(({ score }) => score),
    [7, 6, 5, 4, 3],
  );
  assert.deepEqual(found(["...", "..."]), []);
  assert.deepEqual(found(["0.."]).length, 1, "at the level is in");
  assert.deepEqual(found(["11111", "1...1", "1.9.1", "1...1", "11111"]), [{ x: 0, y: 0, width: 40, height: 40, score: 9 }]);
});

test("boxes of a frame that was resized for tiling are in the pixels of the original, and end with it", () => {
  const map = mapOf([".1."]);
  assert.deepEqual(regionsOf(map, 0, { width: 48, height: 16 }), [{ x: 16, y: 0, width: 16, height: 16, score: 1 }]);
  const cut = { ...mapOf(["..1", "..1"]), width: 21, height: 13 };
  assert.deepEqual(regionsOf(cut, 0, cut), [{ x: 16, y: 0, width: 5, height: 13, score: 1 }]);
});

test("enlarged to pixels a map keeps its cells' values at their middles, and a slope is a slope", () => {
  const map = { columns: 4, rows: 2, cellPx: CELL, width: 30, height: 16, values: Float32Array.of(1, 2, 3, 4, 1, 2, 3, 4) };
  const pixels = enlargeMap(map, { width: 60, height: 32 });
  assert.equal(pixels.length, 60 * 32);
  for (let x = 8; x < 56; x++) assert.ok(Math.abs((pixels[5 * 60 + x] as number) - (0.5 + (x + 0.5) / 16)) < 1e-5, `${pixels[x]} at ${x}`);
  assert.deepEqual([pixels[0], pixels[59]], [1, 4]);
});

test("whatever the map, boxes lie apart and within the frame, the hottest first", () => {
  const cells = fc.array(fc.array(fc.constantFrom(".", ".", "1", "2"), { minLength: 7, maxLength: 7 }), { minLength: 1, maxLength: 7 });
  fc.assert(
    fc.property(cells, (drawn) => {
      const map = mapOf(drawn.map((row) => row.join("")));
      const regions = regionsOf(map, 0, map);
      for (const [i, a] of regions.entries()) {
        assert.ok(a.x >= 0 && a.y >= 0 && a.x + a.width <= map.width && a.y + a.height <= map.height);
        if (i > 0) assert.ok((regions[i - 1]?.score as number) >= a.score);
        for (const b of regions.slice(i + 1)) {
          assert.ok(a.x > b.x + b.width || b.x > a.x + a.width || a.y > b.y + b.height || b.y > a.y + a.height);
        }
      }
      assert.equal(
        regions.length === 0,
        map.values.every((value) => value < 0),
      );
    }),
  );
});

function mapOf(rows: string[]) {
  const columns = rows[0]?.length ?? 0;
  const values = Float32Array.from(rows.join(""), (digit) => (digit === "." ? -1 : Number(digit)));
  return { columns, rows: rows.length, cellPx: CELL, width: columns * CELL, height: rows.length * CELL, values };
}

function found(rows: string[]) {
  const map = mapOf(rows);
  return regionsOf(map, 0, map);
}
