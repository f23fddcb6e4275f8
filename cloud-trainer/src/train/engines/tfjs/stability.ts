/**
 * Judges each step of a training before it is applied: accept it, skip it, or go back to the last good state.
 * In: loss and global gradient norm of one batch. Out: a verdict with its reason; a share of the learning rate.
 * A loss is compared with the median of the last ones in units of a robust deviation (Hampel 1974), a norm with the median
 * norm. Odd batches that come alone are part of the data and widen the measure once sound ones follow; in a row they are a
 * sign of damage. Going back past the offending batches follows PaLM (Chowdhery et al. 2022, arXiv 2204.02311, section 5.1).
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
  /** Medians of the first accepted steps: the scale that a rise is measured on when the loss has become almost nothing. */
  start: z.strictObject({ loss: z.number(), norm: z.number() }).nullable(),
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
/** Median absolute deviation, and distance from median to 90th percentile, of a normal distribution of deviation 1. */
const [MAD, UPPER] = [1 / 1.4826, 1.2816];
/**
 * A model that has learned its data has losses near 0 and, now and then, a hard batch: a deviation is at least this share of
 * the loss at the start, and a usual norm at least this share of the norm then.
 */
const LEAST_SHARE = { loss: 0.02, norm: 0.1 };
/** Where one norm in ten is large, large ones are usual: a spike is also this many times the 90th percentile. */
const TAIL_FACTOR = 3;

const FRESH: StabilityState = { losses: [], norms: [], start: null, lowest: null, strikes: 0, troubleUntil: 0 };
type Seen = { loss: number; norm: number };

export function createStability(options: StabilityOptions, from: StabilityState = FRESH) {
  let state = structuredClone(from);
  /** Of the current row of odd steps: the finite ones, how many were skipped, and how many rollbacks it led to. */
  let row = { odd: [] as Seen[], skips: 0, rollbacks: 0 };

  const judge = (step: number, seen: Seen): Verdict => {
    const why = notFinite(seen) ?? spike(state, options, seen);
    if (why !== null) {
      row.skips++;
      if (notFinite(seen) === null) row.odd.push(seen);
      // Known good weights do not mend bad data: each further rollback of one row waits twice as long.
      if (row.skips < options.skipsBeforeRollback * 2 ** row.rollbacks) return { kind: "skip", why };
      return { kind: "roll-back", why: `${row.skips} steps in a row were skipped, the last because ${why}` };
    }
    state = accepted(state, options, step, [...row.odd, seen]);
    row = { odd: [], skips: 0, rollbacks: 0 };
    return drift(state, options) > 1 ? { kind: "roll-back", why: diverging(state) } : { kind: "accept" };
  };

  return {
    judge,
    /** Back at a state saved earlier; `trouble` is the step that could not be taken. */
    rolledBack: (saved: StabilityState, trouble: number): void => {
      const { strikes, troubleUntil } = state;
      state = { ...structuredClone(saved), strikes: strikes + 1, troubleUntil: Math.max(troubleUntil, trouble + options.window) };
      row = { odd: [], skips: 0, rollbacks: row.rollbacks + 1 };
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

function notFinite({ loss, norm }: Seen): string | null {
  if (!Number.isFinite(loss)) return `the loss is ${loss}`;
  return Number.isFinite(norm) ? null : `the gradient's norm is ${norm}`;
}

function spike({ losses, norms, start }: StabilityState, options: StabilityOptions, { loss, norm }: Seen): string | null {
  if (!start) return null;
  const { median, spread } = levelOf(losses, start.loss);
  if (loss > median + options.lossDeviations * spread) return `the loss is ${shown(loss)}, after a median of ${shown(median)}`;
  const usual = Math.max(quantile(norms, 0.5), LEAST_SHARE.norm * start.norm);
  const limit = Math.max(options.normFactor * usual, TAIL_FACTOR * quantile(norms, 0.9));
  return norm > limit ? `the gradient's norm is ${shown(norm)}, usual is ${shown(usual)}` : null;
}

function accepted(old: StabilityState, { window }: StabilityOptions, step: number, seen: Seen[]): StabilityState {
  const losses = [...old.losses, ...seen.map(({ loss }) => loss)].slice(-window);
  const norms = [...old.norms, ...seen.map(({ norm }) => norm)].slice(-window);
  const enough = losses.length >= Math.min(LEAST_SEEN, window);
  const start = old.start ?? (enough ? { loss: Math.abs(quantile(losses, 0.5)), norm: quantile(norms, 0.5) } : null);
  const level = start && losses.length === window ? levelOf(losses, start.loss) : null;
  const lowest = level && (!old.lowest || level.median < old.lowest.median) ? level : old.lowest;
  const passed = old.strikes > 0 && step >= old.troubleUntil;
  const strikes = passed ? old.strikes - 1 : old.strikes;
  return { losses, norms, start, lowest, strikes, troubleUntil: passed ? old.troubleUntil + window : old.troubleUntil };
}

/** How far the window's median has risen above the lowest one; 1 is a divergence. */
function drift({ losses, lowest }: StabilityState, { window, lossDeviations }: StabilityOptions): number {
  if (!lowest || losses.length < window) return 0;
  return (quantile(losses, 0.5) - lowest.median) / (lossDeviations * lowest.spread);
}

function diverging({ losses, lowest }: StabilityState): string {
  return `the median loss has risen to ${shown(quantile(losses, 0.5))} from ${shown(lowest?.median ?? Number.NaN)}`;
}

function levelOf(losses: readonly number[], start: number): { median: number; spread: number } {
  const median = quantile(losses, 0.5);
  const distances = losses.map((loss) => Math.abs(loss - median));
  const upper = (quantile(losses, 0.9) - median) / UPPER;
  // A constant loss of exactly 0 has no scale of its own; any rise from it is one.
  return { median, spread: Math.max(quantile(distances, 0.5) / MAD, upper, LEAST_SHARE.loss * start, Number.EPSILON) };
}

function shown(value: number): string {
  return value.toPrecision(4);
}
