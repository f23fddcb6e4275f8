/**
 * How long to wait before a camera is tried again: doubling up to a ceiling, each wait drawn from its upper half, so that the cameras
 * behind one switch do not all come back in the same moment. In: the failures so far. Out: milliseconds.
 */
export class Backoff {
  #random: () => number;
  #waitMs: number;

  constructor(random: () => number) {
    this.#random = random;
    this.#waitMs = FIRST_MS;
  }

  nextMs(): number {
    const most = this.#waitMs;
    this.#waitMs = Math.min(most * 2, LONGEST_MS);
    return most * (0.5 + 0.5 * this.#random());
  }

  /** It went well: the next failure is a first one again. */
  reset(): void {
    this.#waitMs = FIRST_MS;
  }
}

const FIRST_MS = 250;
const LONGEST_MS = 15_000;
