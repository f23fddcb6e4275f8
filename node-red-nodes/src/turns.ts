/**
 * So many at once, so many waiting, the rest refused: a stalled server must not fill the memory of the process that asks it.
 * In: work, begun in the order it came. Out: its result, or a failure with `too-many-waiting`.
 */
import { KenpinError } from "@kenpin/schema";

export class Turns {
  readonly #atOnce: number;
  readonly #waiting: number;
  #running = 0;
  #queue: (() => void)[] = [];

  constructor(options: { atOnce: number; waiting: number }) {
    this.#atOnce = options.atOnce;
    this.#waiting = options.waiting;
  }

  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#atOnce) await this.#line();
    else this.#running++;
    try {
      return await work();
    } finally {
      const next = this.#queue.shift();
      if (next)
        next(); // its turn passes on, so nobody can slip in between
      else this.#running--;
    }
  }

  #line(): Promise<void> {
    if (this.#queue.length >= this.#waiting) {
      throw new KenpinError("too-many-waiting", `${this.#waiting} messages wait already; send fewer, or wait for answers`);
    }
    return new Promise((begin) => this.#queue.push(begin));
  }
}
