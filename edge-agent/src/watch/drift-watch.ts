/**
 * One camera's drift: whether its frames of now come from the distribution of a reference that was taken on the line.
 * In: rows of figures of frames that were trusted. Frames close in time are alike, so at most one a second counts, and blocks of five
 * stand seconds apart: blocks are what the test permutes. Out: a reading for each whole window: the kernel two-sample test decides, stability and quantiles say which figure moved.
 * The test's level is shared out over all windows that an eight-hour shift can have (Bonferroni), so that at most SHIFT_ALARM_RATE
 * of shifts without a change alarm, however the windows hang together by the one reference they share.
 */
import type { Drift, DriftFigure, DriftState } from "@kenpin/schema";
import { kernelTwoSample, populationStability, quantile, type Random } from "@kenpin/stats";
import { type Row, TRAITS } from "./drift-figures.ts";

export type DriftReference = { decidedBy: string; at: string; rows: Row[] };
export type DriftReading = Pick<Drift, "state" | "since" | "referenceAt" | "frames" | "test" | "figures">;
export type DriftWatchOptions = {
  /** Where a reference is kept over a restart, also one that is not whole yet: a slow line may need days. null forgets it. */
  kept: { read: () => DriftReference | null; write: (reference: DriftReference | null) => void };
  random: Random;
  now: () => Date;
};

export const REFERENCE_FRAMES = 200;
export const WINDOW_FRAMES = 50;
export const EVERY_MS = 1000;
const SHIFT_MS = 8 * 3_600_000;
const SHIFT_ALARM_RATE = 0.05;
/** Frames in a row that are alike even a second apart: a light that breathes, a run of parts from one mould. */
export const BLOCK_FRAMES = 5;
/** From one block to the next: what they have in common should be what stays. */
export const PAUSE_MS = 5000;
const WINDOW_MS = (WINDOW_FRAMES / BLOCK_FRAMES) * (PAUSE_MS + (BLOCK_FRAMES - 1) * EVERY_MS);
const ALPHA = (SHIFT_ALARM_RATE * WINDOW_MS) / SHIFT_MS;
/** Where a picture has no noise, p tells differences that matter to nobody; below this MMD² there is nothing to see. */
const LEAST_MMD2 = 0.01;
/** A reference that grows is kept every so many frames. */
const KEEP_EVERY = 20;
/** An alarm ends after so many windows in a row that say nothing of a drift, not even at the level one looks at once. */
const CALM_WINDOWS = 2;
const CALM_P = 0.05;
/** Frames offered as samples in one alarm, and how far apart. */
const OFFERS = 20;
const OFFER_EVERY = 10;

export class DriftWatch {
  #options: DriftWatchOptions;
  #reference: DriftReference | null;
  #decidedBy: string | null;
  #gathering: Row[];
  #window: Row[] = [];
  #lastAt = Number.NEGATIVE_INFINITY;
  #state: DriftState = "gathering";
  #since: string;
  #calm = 0;
  #offered = 0;
  #untilOffer = 0;

  constructor(options: DriftWatchOptions) {
    this.#options = options;
    const kept = options.kept.read();
    const isWhole = kept !== null && kept.rows.length >= REFERENCE_FRAMES;
    this.#reference = isWhole ? kept : null;
    this.#gathering = kept && !isWhole ? kept.rows : [];
    this.#decidedBy = kept?.decidedBy ?? null;
    this.#since = options.now().toISOString();
    if (isWhole) this.#state = "steady";
  }

  get state(): DriftState {
    return this.#state;
  }

  /** When this state began. */
  get since(): string {
    return this.#since;
  }

  /** A trusted frame's row at `at` (a monotonic clock's milliseconds). Answers a reading where a window or the reference is whole. */
  take(row: Row, { at, decidedBy }: { at: number; decidedBy: string }): DriftReading | null {
    if (decidedBy !== this.#decidedBy) this.forget(decidedBy);
    const taken = this.#reference ? this.#window.length : this.#gathering.length;
    if (at - this.#lastAt < (taken % BLOCK_FRAMES === 0 ? PAUSE_MS : EVERY_MS)) return null;
    this.#lastAt = at;
    this.#untilOffer--;
    if (!this.#reference) return this.#gather(row, decidedBy);
    this.#window.push(row);
    if (this.#window.length < WINDOW_FRAMES) return null;
    const window = this.#window;
    this.#window = [];
    return this.#judge(this.#reference, window);
  }

  /** Whether the frame taken last is one to learn the drift from; asking takes the offer. */
  takeOffer(): boolean {
    if (this.#state !== "drifting" || this.#offered >= OFFERS || this.#untilOffer > 0) return false;
    this.#offered++;
    this.#untilOffer = OFFER_EVERY;
    return true;
  }

  /** What is shown from now on is what should be. */
  forget(decidedBy: string | null = this.#decidedBy): void {
    if (this.#reference || this.#gathering.length > 0) this.#options.kept.write(null);
    this.#reference = null;
    this.#decidedBy = decidedBy;
    this.#gathering = [];
    this.#window = [];
    this.#enter("gathering");
  }

  #gather(row: Row, decidedBy: string): DriftReading | null {
    this.#gathering.push(row);
    const reference = { decidedBy, at: this.#options.now().toISOString(), rows: this.#gathering };
    if (this.#gathering.length % KEEP_EVERY === 0) this.#options.kept.write(reference);
    if (this.#gathering.length < REFERENCE_FRAMES) return null;
    this.#reference = reference;
    this.#gathering = [];
    this.#enter("steady");
    return this.#reading(reference, [], null);
  }

  #judge(reference: DriftReference, window: Row[]): DriftReading {
    const used = TRAITS.map((_, i) => i).filter((i) => [...reference.rows, ...window].every((row) => typeof row[i] === "number"));
    const rowsOf = (rows: readonly Row[]) => rows.map((row) => used.map((i) => row[i] as number));
    const leastSpread = used.map((i) => (TRAITS[i] as (typeof TRAITS)[number]).leastSpread);
    const options = { block: BLOCK_FRAMES, alpha: ALPHA, leastSpread, random: this.#options.random };
    const { mmd2, p } = kernelTwoSample(rowsOf(reference.rows), rowsOf(window), options);
    this.#calm = p > CALM_P ? this.#calm + 1 : 0;
    if (p <= ALPHA && mmd2 >= LEAST_MMD2) this.#enter("drifting");
    else if (this.#state === "drifting" && this.#calm >= CALM_WINDOWS) this.#enter("steady");
    return this.#reading(reference, window, { mmd2, p, alpha: ALPHA, shiftAlarmRate: SHIFT_ALARM_RATE });
  }

  #enter(state: DriftState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#since = this.#options.now().toISOString();
    this.#calm = 0;
    this.#offered = 0;
    this.#untilOffer = 0;
  }

  #reading(reference: DriftReference, window: readonly Row[], test: DriftReading["test"]): DriftReading {
    return {
      state: this.#state,
      since: this.#since,
      referenceAt: reference.at,
      frames: { reference: reference.rows.length, window: window.length },
      test,
      figures: figuresOf(reference.rows, window),
    };
  }
}

/** The one that moved most first. */
function figuresOf(reference: readonly Row[], window: readonly Row[]): DriftFigure[] {
  const figures = TRAITS.flatMap(({ name }, i): DriftFigure[] => {
    const column = (rows: readonly Row[]) => rows.flatMap((row) => row[i] ?? []);
    const [then, now] = [column(reference), column(window)];
    if (then.length === 0 || now.length === 0) return [];
    return [{ name, stability: Math.max(0, populationStability(then, now)), reference: spreadOf(then), window: spreadOf(now) }];
  });
  return figures.toSorted((a, b) => b.stability - a.stability);
}

function spreadOf(values: readonly number[]): DriftFigure["reference"] {
  return { p05: quantile(values, 0.05), p50: quantile(values, 0.5), p95: quantile(values, 0.95) };
}
