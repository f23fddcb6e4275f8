/**
 * What calibration has seen of each place: extremes of every channel, rows of some tokens, and the largest weight that a
 * channel meets. In: a float graph with taps, and its inputs. The runtime reduces; no whole activation leaves it.
 */
import type { ModelRunner, Tensors } from "@kenpin/inspector";

export type Seen = { min: Float32Array; max: Float32Array; rows: Float32Array; weights: Float32Array };

/** Rows kept of one place, over all inputs. */
const ROWS_LIMIT = 1536;

export async function observe(model: ModelRunner, places: readonly string[], inputs: AsyncIterable<Tensors>): Promise<Map<string, Seen>> {
  const kept = new Map(places.map((place) => [place, { min: [] as number[], max: [] as number[], rows: [] as Float32Array[], count: 0 }]));
  const weights = new Map<string, Float32Array>();
  for await (const input of inputs) {
    const { tensors } = await model.run(input);
    for (const [place, seen] of kept) {
      widen(seen.max, tensors[`max:${place}`] as Float32Array, Math.max);
      widen(seen.min, tensors[`min:${place}`] as Float32Array, Math.min);
      const rows = tensors[`some:${place}`] as Float32Array;
      const channels = seen.max.length;
      if (seen.count < ROWS_LIMIT) seen.rows.push(rows.slice());
      seen.count += rows.length / channels;
      weights.set(place, tensors[`weight:${place}`] as Float32Array);
    }
  }
  return new Map(
    [...kept].map(([place, { min, max, rows }]) => {
      const seen = { min: Float32Array.from(min), max: Float32Array.from(max), rows: joinRows(rows) };
      return [place, { ...seen, weights: weights.get(place) as Float32Array }];
    }),
  );
}

function widen(known: number[], values: Float32Array, pick: (a: number, b: number) => number): void {
  const channels = known.length || values.length;
  for (const [i, value] of values.entries()) {
    const channel = i % channels;
    known[channel] = known[channel] === undefined ? value : pick(known[channel], value);
  }
}

function joinRows(rows: Float32Array[]): Float32Array {
  const out = new Float32Array(rows.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const row of rows) {
    out.set(row, at);
    at += row.length;
  }
  return out;
}
