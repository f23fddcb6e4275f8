/**
 * Lets cameras open one after another: two that open at once on one bus or one network card may both fail
 * (basler/gst-plugin-pylon#25). A turn is given back with the first picture, or when the attempt has ended.
 */
export class OpeningTurn {
  #last: Promise<void> = Promise.resolve();

  /** Resolves when it is this one's turn; calling what it resolves to gives the turn to the next one. */
  async take(): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#last;
    this.#last = promise;
    await before;
    return resolve;
  }
}
