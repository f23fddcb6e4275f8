/**
 * Stitches the tiles' patch values into one map over the frame and finds its hottest regions.
 * In: values [tiles·P] and where the tiles lie. Out: a map with one cell a patch width, and boxes in pixels of the frame.
 * Where tiles overlap their values are averaged by distance from the tile's edge, so no seam shows.
 */
import type { Tiles } from "@kenpin/clip";
import type { Region } from "@kenpin/schema";

export type AnomalyMap = { columns: number; rows: number; cellPx: number; values: Float32Array };

const REGION_LIMIT = 5;

export function stitch(values: Float32Array, { places, width, height }: Tiles, tilePx: number): AnomalyMap {
  const grid = Math.sqrt(values.length / places.length);
  const cell = tilePx / grid;
  // Whole cells only: the last tile ends at the frame's edge, so a cell that the edge cuts would be touched by no patch.
  const [columns, rows] = [Math.floor(width / cell), Math.floor(height / cell)];
  const sum = new Float32Array(columns * rows);
  const weight = new Float32Array(columns * rows);
  for (const [tile, { x, y }] of places.entries()) {
    for (let p = 0; p < grid * grid; p++) {
      const [row, column] = [Math.floor(p / grid), p % grid];
      const trust = 0.5 + Math.min(row, column, grid - 1 - row, grid - 1 - column);
      const at = Math.min(rows - 1, Math.round(y / cell + row)) * columns + Math.min(columns - 1, Math.round(x / cell + column));
      sum[at] = (sum[at] as number) + trust * (values[tile * grid * grid + p] as number);
      weight[at] = (weight[at] as number) + trust;
    }
  }
  return { columns, rows, cellPx: cell, values: sum.map((value, i) => value / Math.max(weight[i] as number, 1e-6)) };
}

/** Connected cells (four neighbours) at or above `level`, the hottest first; `scale` is map pixels per frame pixel. */
export function regionsOf({ columns, rows, cellPx, values }: AnomalyMap, level: number, scale: number): Region[] {
  const seen = new Uint8Array(values.length);
  const regions: Region[] = [];
  for (let start = 0; start < values.length; start++) {
    if (seen[start] || (values[start] as number) < level) continue;
    const box = { left: columns, top: rows, right: 0, bottom: 0, score: Number.NEGATIVE_INFINITY };
    const open = [start];
    seen[start] = 1;
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      const [x, y] = [at % columns, Math.floor(at / columns)];
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x + 1);
      box.top = Math.min(box.top, y);
      box.bottom = Math.max(box.bottom, y + 1);
      box.score = Math.max(box.score, values[at] as number);
      const near = [x > 0 ? at - 1 : -1, x + 1 < columns ? at + 1 : -1, y > 0 ? at - columns : -1, y + 1 < rows ? at + columns : -1];
      for (const next of near) {
        if (next < 0 || seen[next] || (values[next] as number) < level) continue;
        seen[next] = 1;
        open.push(next);
      }
    }
    const px = cellPx / scale;
    regions.push({
      x: box.left * px,
      y: box.top * px,
      width: (box.right - box.left) * px,
      height: (box.bottom - box.top) * px,
      score: box.score,
    });
  }
  return regions.sort((a, b) => b.score - a.score).slice(0, REGION_LIMIT);
}
