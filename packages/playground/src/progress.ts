/**
 * Shows where the story stands: one live line with a bar and the time of the stage on a terminal, a plain line every few
 * seconds elsewhere (a log file keeps every line it is given). Writes to stderr, so that stdout stays the summary's.
 */
const BAR_CELLS = 24;
const QUIET_MS = 5000;

export class Progress {
  #live = process.stderr.isTTY === true;
  #stage = "";
  #stageStartedAt = 0;
  #saidAt = 0;
  #last = "";

  readonly tell = (stage: string, detail: string, part: number, whole: number): void => {
    if (stage !== this.#stage) this.#begin(stage);
    const share = whole > 0 ? Math.min(1, part / whole) : 0;
    const bar = "█".repeat(Math.round(share * BAR_CELLS)).padEnd(BAR_CELLS, "░");
    const seconds = (Date.now() - this.#stageStartedAt) / 1000;
    this.#last = `  ${bar} ${part}/${whole} ${detail} (${seconds.toFixed(0)} s)`;
    if (this.#live) process.stderr.write(`\r\u001b[2K${this.#last.slice(0, (process.stderr.columns ?? 100) - 1)}`);
    else if (Date.now() - this.#saidAt > QUIET_MS || share === 1) this.#sayPlain();
  };

  readonly note = (text: string): void => {
    if (this.#live && this.#last) process.stderr.write("\n");
    this.#last = "";
    process.stderr.write(`${text}\n`);
  };

  #begin(stage: string): void {
    this.note(stage);
    this.#stage = stage;
    this.#stageStartedAt = Date.now();
    this.#saidAt = 0;
  }

  #sayPlain(): void {
    if (this.#saidAt !== 0 && Date.now() - this.#saidAt < 200) return;
    this.#saidAt = Date.now();
    process.stderr.write(`${this.#last}\n`);
  }
}
