/**
 * Sorts unsigned 32-bit keys and remembers where each came from, in time that grows with their number only: two passes of 16
 * bits, the lower half first (least significant digit radix sort). Equal keys keep their order.
 */
const HALF = 2 ** 16;

export function sortByKey(keys: Uint32Array): { keys: Uint32Array; order: Uint32Array } {
  const first = pass({ keys, order: Uint32Array.from(keys.keys()) }, 0);
  return pass(first, 16);
}

function pass({ keys, order }: { keys: Uint32Array; order: Uint32Array }, shift: 0 | 16): { keys: Uint32Array; order: Uint32Array } {
  const starts = new Uint32Array(HALF + 1);
  for (let i = 0; i < keys.length; i++) {
    const next = (((keys[i] as number) >>> shift) & (HALF - 1)) + 1;
    starts[next] = (starts[next] as number) + 1;
  }
  for (let digit = 1; digit <= HALF; digit++) starts[digit] = (starts[digit] as number) + (starts[digit - 1] as number);
  const out = { keys: new Uint32Array(keys.length), order: new Uint32Array(keys.length) };
  for (let i = 0; i < keys.length; i++) {
    const digit = ((keys[i] as number) >>> shift) & (HALF - 1);
    const to = starts[digit] as number;
    starts[digit] = to + 1;
    out.keys[to] = keys[i] as number;
    out.order[to] = order[i] as number;
  }
  return out;
}
