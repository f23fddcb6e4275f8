/**
 * Judges each step of a training before it is applied: accept it, skip it, or go back to the last good state.
 * In: loss and global gradient norm of one batch. Out: a verdict with its reason; a share of the learning rate.
 * A loss is compared with the median of the last accepted ones in units of their median absolute deviation, because both stay
 * put when half of a window is nonsense (Hampel 1974); a norm is compared with the median norm. Skipping and going back past
 * the offending batches follows PaLM (Chowdhery et al. 2022, arXiv 2204.02311, section 5.1).
 */
import { quantile } from "@kenpin/stats";
import { z } from "zod";

export type StabilityOptions = {
  /** Accepted steps that a new one is compared with. */
  window: number;
  /** A loss this many robust deviations above the median is a spike. */
  lossDeviations: number;
  /** So is a gradient this many times the median norm. */
  normFactor: number;
  skipsBeforeRollback: number;
  /** Share of the rate after a rollback, once for each that follows before the trouble is passed. */
  rateAfterRollback: number;
  maxRollbacks: number;
};

/** 10,000 is the largest window a recipe may ask for. */
const Window = z.array(z.number()).max(10_000);
export const StabilityState = z.strictObject({
  losses: Window,
  norms: Window,
  /** The best level so far: lowest median of a whole window, and how far single losses lay from it. */
  lowest: z.strictObject({ median: z.number(), spread: z.number() }).nullable(),
  /** Rollbacks that still lower the rate; one is forgiven for each window of steps past the place of trouble. */
  strikes: z.int().min(0),
  troubleUntil: z.int().min(0),
});
export type StabilityState = z.infer<typeof StabilityState>;

export type Verdict = { kind: "accept" } | { kind: "skip" | "roll-back"; why: string };
export type Stability = ReturnType<typeof createStability>;

/** Fewer accepted steps than this say nothing about what is usual. */
const LEAST_SEEN = 8;
/** Median absolute deviation of a normal distribution, as a standard deviation. */
const MAD_TO_SIGMA = 1.4826;
/** Losses that hardly differ must not make a spike of rounding: the spread is at least this share of the median, and this much. */
const LEAST_SPREAD = { share: 0.02, absolute: 0.02 };

const FRESH: StabilityState = { losses: [], norms: [], lowest: null, strikes: 0, troubleUntil: 0 };

export function createStability(options: StabilityOptions, from: StabilityState = FRESH) {
  let state = structuredClone(from);
  /** Of the current row of bad steps: how many were skipped, and how often it has already led to a rollback. */
  let row = { skips: 0, rollbacks: 0 };

  const judge = (step: number, loss: number, norm: number): Verdict => {
    const odd = notFinite(loss, norm) ?? spike(state, options, loss, norm);
    if (odd !== null) {
      row.skips++;
      // Known good weights do not mend bad data: each further rollback of one row waits twice as long.
      if (row.skips < options.skipsBeforeRollback * 2 ** row.rollbacks) return { kind: "skip", why: odd };
      return { kind: "roll-back", why: `${row.skips} steps in a row were skipped, the last because ${odd}` };
    }
    row = { skips: 0, rollbacks: 0 };
    state = accepted(state, options, step, loss, norm);
    const level = drift(state, options);
    return level > 1 ? { kind: "roll-back", why: diverging(state) } : { kind: "accept" };
  };

  return {
    judge,
    /** Back at a state saved earlier; `trouble` is the step that could not be taken. */
    rolledBack: (saved: StabilityState, trouble: number): void => {
      const { strikes, troubleUntil } = state;
      state = { ...structuredClone(saved), strikes: strikes + 1, troubleUntil: Math.max(troubleUntil, trouble + options.window) };
      row = { skips: 0, rollbacks: row.rollbacks + 1 };
    },
    /** How many saved states back the next rollback should go: a state that did not help is not tried twice in a row. */
    depth: (): number => row.rollbacks,
    spent: (): boolean => state.strikes >= options.maxRollbacks,
    rateShare: (): number => options.rateAfterRollback ** state.strikes,
    /** Nothing odd is under way, so that the state may be saved. */
    calm: (): boolean => row.skips === 0,
    /** The level is no worse than usual, so that the state is worth going back to. */
    steady: (): boolean => drift(state, options) <= 0.5,
    state: (): StabilityState => structuredClone(state),
  };
}

function notFinite(loss: number, norm: number): string | null {
  if (!Number.isFinite(loss)) return `the loss is ${loss}`;
  return Number.isFinite(norm) ? null : `the gradient's norm is ${norm}`;
}

function spike({ losses, norms }: StabilityState, options: StabilityOptions, loss: number, norm: number): string | null {
  if (losses.length < Math.min(LEAST_SEEN, options.window)) return null;
  const { median, spread } = levelOf(losses);
  if (loss > median + options.lossDeviations * spread) return `the loss is ${shown(loss)}, after a median of ${shown(median)}`;
  const usual = quantile(norms, 0.5);
  return usual > 0 && norm > options.normFactor * usual ? `the gradient's norm is ${shown(norm)}, after a median of ${shown(usual)}` : null;
}

function accepted(old: StabilityState, { window }: StabilityOptions, step: number, loss: number, norm: number): StabilityState {
  const losses = [...old.losses, loss].slice(-window);
  const norms = [...old.norms, norm].slice(-window);
  const level = losses.length === window ? levelOf(losses) : null;
  const lowest = level && (!old.lowest || level.median < old.lowest.median) ? level : old.lowest;
  const passed = old.strikes > 0 && step >= old.troubleUntil;
  const strikes = passed ? old.strikes - 1 : old.strikes;
  return { losses, norms, lowest, strikes, troubleUntil: passed ? old.troubleUntil + window : old.troubleUntil };
}

/** How far the window's median has risen above the lowest one; 1 is a divergence. */
function drift({ losses, lowest }: StabilityState, { window, lossDeviations }: StabilityOptions): number {
  if (!lowest || losses.length < window) return 0;
  return (quantile(losses, 0.5) - lowest.median) / (lossDeviations * lowest.spread);
}

function diverging({ losses, lowest }: StabilityState): string {
  return `the median loss has risen to ${shown(quantile(losses, 0.5))} from ${shown(lowest?.median ?? Number.NaN)}`;
}

function levelOf(losses: readonly number[]): { median: number; spread: number } {
  const median = quantile(losses, 0.5);
  const deviation = quantile(
    losses.map((loss) => Math.abs(loss - median)),
    0.5,
  );
  return { median, spread: Math.max(MAD_TO_SIGMA * deviation, LEAST_SPREAD.share * Math.abs(median), LEAST_SPREAD.absolute) };
}

function shown(value: number): string {
  return value.toPrecision(4);
}
