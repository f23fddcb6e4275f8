/**
 * What a loop does between two turns: it rests for a time, until somebody wakes it, or not at all once it was ended. At most one timer
 * and one promise are held, so that a loop may turn for years: a race against a promise or a signal that lives as long as the loop
 * would gather there what each turn leaves.
 */
export class Rest {
  #over: (() => void) | null = null;
  #isLight = false;
  #hasNews = false;
  #isEnded = false;

  /** Resolves after `ms`, or at once where there was news since the last rest. In milliseconds. */
  forNews(ms: number): Promise<void> {
    const news = this.#hasNews;
    this.#hasNews = false;
    return this.#begin(news ? 0 : ms, true);
  }

  /** Resolves after `ms`; only the end comes before. */
  forTime(ms: number): Promise<void> {
    return this.#begin(ms, false);
  }

  wake(): void {
    if (this.#over && this.#isLight) this.#over();
    else this.#hasNews = true;
  }

  end(): void {
    this.#isEnded = true;
    this.#over?.();
  }

  #begin(ms: number, isLight: boolean): Promise<void> {
    if (this.#isEnded || ms <= 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => this.#over?.(), ms);
    this.#isLight = isLight;
    this.#over = () => {
      clearTimeout(timer);
      this.#over = null;
      resolve();
    };
    return promise;
  }
}
