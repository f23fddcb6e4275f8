/**
 * Seeded random numbers: the same seed gives the same stream on every machine, so a run can be played again.
 * xoshiro128** (Blackman and Vigna 2018), seeded by splitmix32; not for secrets.
 */
export type Random = {
  /** Uniform in [0, 1). */
  next: () => number;
  /** Uniform integer in [0, n). */
  int: (n: number) => number;
  /** Uniform in [low, high). */
  between: (low: number, high: number) => number;
  /** Standard normal. */
  normal: () => number;
  pick: <T>(items: readonly T[]) => T;
  /** A new, shuffled array. */
  shuffle: <T>(items: readonly T[]) => T[];
  /** The stream's state, for a checkpoint. */
  state: () => number[];
};

export function createRandom(seed: number | number[]): Random {
  const s = Array.isArray(seed) ? Uint32Array.from(seed) : seedState(seed);
  const next32 = () => {
    const result = Math.imul(rotateLeft(Math.imul(s[1] as number, 5), 7), 9) >>> 0;
    const t = (s[1] as number) << 9;
    s[2] = (s[2] as number) ^ (s[0] as number);
    s[3] = (s[3] as number) ^ (s[1] as number);
    s[1] = (s[1] as number) ^ (s[2] as number);
    s[0] = (s[0] as number) ^ (s[3] as number);
    s[2] = (s[2] as number) ^ t;
    s[3] = rotateLeft(s[3] as number, 11);
    return result;
  };
  const next = () => next32() / 2 ** 32;
  const int = (n: number) => Math.floor(next() * n);
  return {
    next,
    int,
    between: (low, high) => low + next() * (high - low),
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    pick: (items) => items[int(items.length)] as (typeof items)[number],
    shuffle: (items) => {
      const out = [...items];
      for (let i = out.length - 1; i > 0; i--) {
        const j = int(i + 1);
        [out[i], out[j]] = [out[j] as (typeof out)[number], out[i] as (typeof out)[number]];
      }
      return out;
    },
    state: () => [...s],
  };
}

/** The stream that belongs to one draw of a seeded run, whatever was drawn before it: a run that resumes needs no state. */
export function randomAt(seed: number, draw: number): Random {
  return createRandom((Math.imul(draw + 1, 0x9e3779b1) ^ Math.imul(seed + 1, 0x85ebca6b)) >>> 0);
}

function seedState(seed: number): Uint32Array {
  let x = seed >>> 0;
  return Uint32Array.from({ length: 4 }, () => {
    x = (x + 0x9e3779b9) >>> 0;
    let z = x;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  });
}

function rotateLeft(x: number, bits: number): number {
  return ((x << bits) | (x >>> (32 - bits))) >>> 0;
}
