/**
 * Stitches the tiles' patch values into one map over the frame and finds its hottest regions.
 * In: values [tiles·P] and where the tiles lie. Out: a map with one cell a patch width, and boxes in pixels of the frame.
 * A cell takes each tile's value at its own middle, between patches where the tile does not begin at a whole patch, and the
 * tiles' values are mixed by how far the cell lies from each tile's edge: neither a seam nor a step shows.
 */
import type { Tiles } from "@kenpin/clip";
import type { Region } from "@kenpin/schema";

/** `width` and `height` in pixels of the tiled frame; the last column and row may reach past them. */
export type AnomalyMap = { columns: number; rows: number; cellPx: number; width: number; height: number; values: Float32Array };
type Size = { width: number; height: number };
type Box = { left: number; top: number; right: number; bottom: number; score: number };

const REGION_LIMIT = 5;
/** A cell on a tile's very edge still counts where no other tile knows it. */
const LEAST_TRUST = 1e-3;

export function stitch(values: Float32Array, { places, width, height }: Omit<Tiles, "pixelValues">, tilePx: number): AnomalyMap {
  const grid = Math.sqrt(values.length / places.length);
  const cell = tilePx / grid;
  const [columns, rows] = [Math.ceil(width / cell), Math.ceil(height / cell)];
  const sum = new Float32Array(columns * rows);
  const weight = new Float32Array(columns * rows);
  const axes = new Map<string, Stop[]>();
  const axis = (from: number, count: number, length: number) => {
    const key = `${from} ${count} ${length}`;
    const known = axes.get(key) ?? stopsOf({ from, count, length, cell, grid });
    axes.set(key, known);
    return known;
  };
  for (const [tile, { x, y }] of places.entries()) {
    const across = axis(x, columns, width);
    for (const { at: row, low: up, share: down, trust } of axis(y, rows, height)) {
      const [upper, lower] = [tile * grid * grid + up * grid, tile * grid * grid + Math.min(grid - 1, up + 1) * grid];
      for (const { at: column, low, share, trust: sideways } of across) {
        const high = Math.min(grid - 1, low + 1);
        const above = (values[upper + low] as number) * (1 - share) + (values[upper + high] as number) * share;
        const below = (values[lower + low] as number) * (1 - share) + (values[lower + high] as number) * share;
        const [to, counts] = [row * columns + column, trust * sideways];
        sum[to] = (sum[to] as number) + counts * (above * (1 - down) + below * down);
        weight[to] = (weight[to] as number) + counts;
      }
    }
  }
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) / (weight[i] as number);
  return { columns, rows, cellPx: cell, width, height, values: sum };
}

/** Connected cells at or above `level`, merged where their boxes touch, the hottest first, in pixels of the frame. */
export function regionsOf(map: AnomalyMap, level: number, frame: Size): Region[] {
  const boxes = merged(connected(map, level));
  const [scaleX, scaleY] = [frame.width / map.width, frame.height / map.height];
  return boxes
    .sort((a, b) => b.score - a.score)
    .slice(0, REGION_LIMIT)
    .map(({ left, top, right, bottom, score }) => {
      const [x, y] = [left * map.cellPx * scaleX, top * map.cellPx * scaleY];
      const [toX, toY] = [Math.min(frame.width, right * map.cellPx * scaleX), Math.min(frame.height, bottom * map.cellPx * scaleY)];
      return { x, y, width: toX - x, height: toY - y, score };
    });
}

/** The map's value at each pixel of the frame [height·width], along straight lines between the cells' middles. */
export function enlargeMap(map: AnomalyMap, frame: Size): Float32Array {
  const out = new Float32Array(frame.width * frame.height);
  const across = pixelStops(frame.width, { cells: map.columns, cellPx: (map.cellPx * frame.width) / map.width });
  for (const [y, { low: up, high: down, share: downward }] of pixelStops(frame.height, {
    cells: map.rows,
    cellPx: (map.cellPx * frame.height) / map.height,
  }).entries()) {
    const [upper, lower] = [up * map.columns, down * map.columns];
    for (const [x, { low, high, share }] of across.entries()) {
      const above = (map.values[upper + low] as number) * (1 - share) + (map.values[upper + high] as number) * share;
      const below = (map.values[lower + low] as number) * (1 - share) + (map.values[lower + high] as number) * share;
      out[y * frame.width + x] = above * (1 - downward) + below * downward;
    }
  }
  return out;
}

function pixelStops(length: number, { cells, cellPx }: { cells: number; cellPx: number }) {
  return Array.from({ length }, (_, pixel) => {
    const place = Math.min(cells - 1, Math.max(0, (pixel + 0.5) / cellPx - 0.5));
    const low = Math.floor(place);
    return { low, high: Math.min(cells - 1, low + 1), share: place - low };
  });
}

type Stop = { at: number; low: number; share: number; trust: number };

/** Along one axis: the cells whose middle a tile covers, between which patches each lies, and how far from the tile's edge. */
function stopsOf({ from, count, length, cell, grid }: { from: number; count: number; length: number; cell: number; grid: number }): Stop[] {
  const stops: Stop[] = [];
  for (let at = 0; at < count; at++) {
    const middle = Math.min((at + 0.5) * cell, length - 0.5) - from;
    if (middle < 0 || middle > grid * cell) continue;
    const patch = Math.min(grid - 1, Math.max(0, middle / cell - 0.5));
    const low = Math.floor(patch);
    const trust = Math.max(LEAST_TRUST, Math.min(middle, grid * cell - middle) / cell);
    stops.push({ at, low, share: patch - low, trust });
  }
  return stops;
}

/** One box for each group of cells that touch by a side or a corner. */
function connected({ columns, rows, values }: AnomalyMap, level: number): Box[] {
  const seen = new Uint8Array(values.length);
  const boxes: Box[] = [];
  for (let start = 0; start < values.length; start++) {
    if (seen[start] || (values[start] as number) < level) continue;
    const box = { left: columns, top: rows, right: 0, bottom: 0, score: Number.NEGATIVE_INFINITY };
    const open = [start];
    seen[start] = 1;
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      const [x, y] = [at % columns, Math.floor(at / columns)];
      grow(box, { left: x, top: y, right: x + 1, bottom: y + 1, score: values[at] as number });
      for (let j = Math.max(0, y - 1); j <= Math.min(rows - 1, y + 1); j++) {
        for (let i = Math.max(0, x - 1); i <= Math.min(columns - 1, x + 1); i++) {
          const next = j * columns + i;
          if (seen[next] || (values[next] as number) < level) continue;
          seen[next] = 1;
          open.push(next);
        }
      }
    }
    boxes.push(box);
  }
  return boxes;
}

/** Until no two boxes share a point: a ring and what lies within it are one thing to whoever looks. */
function merged(boxes: Box[]): Box[] {
  const done: Box[] = [];
  for (const box of boxes) {
    for (let i = done.findIndex((other) => touch(box, other)); i >= 0; i = done.findIndex((other) => touch(box, other))) {
      grow(box, done.splice(i, 1)[0] as Box);
    }
    done.push(box);
  }
  return done;
}

function touch(a: Box, b: Box): boolean {
  return a.left <= b.right && b.left <= a.right && a.top <= b.bottom && b.top <= a.bottom;
}

function grow(box: Box, other: Box): void {
  box.left = Math.min(box.left, other.left);
  box.top = Math.min(box.top, other.top);
  box.right = Math.max(box.right, other.right);
  box.bottom = Math.max(box.bottom, other.bottom);
  box.score = Math.max(box.score, other.score);
}
