/**
 * The hub's side of "nothing is lost": for each boot of an agent, how far the committed messages reach without a gap.
 * Messages may come twice and out of order; only the contiguous front is acknowledged. Pure state, kept by the caller.
 */
export class ContiguousFront {
  #reached: number;
  #ahead = new Set<number>();

  constructor(reached = 0) {
    this.#reached = reached;
  }

  /** Counts a committed seq; answers with how far the front reaches now. */
  add(seq: number): number {
    if (seq > this.#reached) this.#ahead.add(seq);
    while (this.#ahead.delete(this.#reached + 1)) this.#reached++;
    return this.#reached;
  }

  get reached(): number {
    return this.#reached;
  }
}
