/**
 * A frame's tiles through the image tower, at most so many at once: on some devices a few at a time are faster, and memory is
 * bounded by the batch. In: pixel_values [n, 3, S, S]. Out: the tower's outputs for all tiles, in order.
 */
import type { Tiles } from "@kenpin/clip";
import type { Opened, Shapes } from "./runtime.ts";

export async function runTiles(
  { run }: Pick<Opened, "run">,
  { pixelValues, count }: Pick<Tiles, "pixelValues" | "count">,
  { side, batch = count }: { side: number; batch?: number | undefined },
): Promise<Record<string, Float32Array>> {
  const pixels = 3 * side * side;
  const parts: Record<string, Float32Array>[] = [];
  for (let from = 0; from < count; from += batch) {
    const tiles = Math.min(batch, count - from);
    const data = pixelValues.subarray(from * pixels, (from + tiles) * pixels);
    parts.push(await run({ pixel_values: { data, dims: [tiles, 3, side, side] } }));
  }
  const [first] = parts;
  if (!first || parts.length === 1) return first ?? {};
  return Object.fromEntries(Object.keys(first).map((name) => [name, joined(parts.map((part) => part[name] as Float32Array))]));
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** What an engine that is built for shapes must know of the tower's, in every process alike, or it would be built again. */
export function towerShapes(side: number, maxTiles: number): Shapes {
  const dims = (tiles: number) => [tiles, 3, side, side];
  return { pixel_values: { least: dims(1), usual: dims(maxTiles), most: dims(maxTiles) } };
}
