/**
 * A station of the line: the cameras that look at one part, and one answer for it, by trigger id. In: triggers, and what was decided of
 * each camera's frame. Out: the worst of them (fail, then unknown, then pass), told to the line before anything is written down.
 *
 * The deadline counts from the trigger; a camera that has not answered by then counts as unknown, and what it says later changes
 * nothing on the line. Where cameras name the part themselves (a file, a push), the first one's frame opens the part.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Camera, errorLine, type StationAnswer, type Verdict } from "@kenpin/schema";
import type { Logger } from "pino";

/** `at`: pictures count from here on; `since`: the deadline runs from here, no later than the part really came. performance.now(). */
export type PartTrigger = { id: string; at: number; since: number };
export type StationOptions = {
  name: string;
  cameras: readonly Camera[];
  /** Asks a camera for a frame; what comes of it is decided and told to `take`. */
  ask: (camera: string, trigger: PartTrigger) => void;
  /** Sets the line's output; resolves once the line has it. */
  output: (answer: StationAnswer) => Promise<void>;
  log: Logger;
};
type Said = Pick<Verdict, "outcome" | "reason">;
type Part = { trigger: PartTrigger; said: Map<string, Said>; timer: NodeJS.Timeout; answer: PromiseWithResolvers<StationAnswer> };

const BADNESS = { pass: 0, unknown: 1, fail: 2 } as const;
/** More than any line has under way. */
const OPEN_PARTS = 64;
/** Parts whose late cameras are still known as late. */
const CLOSED_PARTS = 256;
/** An output that does not answer must not keep verdicts from being written down. */
const OUTPUT_PATIENCE_MS = 250;

export class Station {
  readonly name: string;
  readonly deadlineMs: number;
  #options: StationOptions;
  #isStopped = false;
  #open = new Map<string, Part>();
  /** Of closed parts, the cameras that had not answered; oldest first. */
  #missing = new Map<string, Set<string>>();

  constructor(options: StationOptions) {
    this.#options = options;
    this.name = options.name;
    this.deadlineMs = Math.min(...options.cameras.map(({ deadlineMs }) => deadlineMs));
  }

  /** Asks the station's cameras for the part in front of them; resolves once the line has the answer. The same id again joins in. */
  trigger(trigger: PartTrigger): Promise<StationAnswer> {
    const known = this.#open.get(trigger.id);
    if (known) return known.answer.promise;
    const part = this.#begin(trigger);
    for (const { name } of this.#options.cameras) this.#options.ask(name, trigger);
    return part.answer.promise;
  }

  /** Told what was decided of a camera's frame; resolves once the line has the answer, if this was the last one missing. */
  async take(camera: string, triggerId: string, since: number, said: Said): Promise<void> {
    if (this.#isStopped || this.#missing.get(triggerId)?.delete(camera)) return; // its part was answered without it
    const part = this.#open.get(triggerId) ?? this.#begin({ id: triggerId, at: since, since });
    part.said.set(camera, said);
    if (part.said.size < this.#options.cameras.length || !this.#open.has(triggerId)) return;
    this.#close(part, false);
    await part.answer.promise;
  }

  /** Whether this camera's part was answered without it: its verdict must not say otherwise. */
  isLate(camera: string, triggerId: string): boolean {
    return this.#missing.get(triggerId)?.has(camera) === true;
  }

  stop(): void {
    this.#isStopped = true;
    for (const part of [...this.#open.values()]) this.#close(part, true);
  }

  #begin(trigger: PartTrigger): Part {
    this.#missing.delete(trigger.id); // an id used again is a new part
    const left = Math.max(0, this.deadlineMs - (performance.now() - trigger.since));
    const timer = setTimeout(() => this.#close(part, true), left);
    const part: Part = { trigger, said: new Map(), timer, answer: Promise.withResolvers<StationAnswer>() };
    this.#open.set(trigger.id, part);
    if (this.#open.size > OPEN_PARTS) this.#close(this.#open.values().next().value as Part, true);
    return part;
  }

  #close(part: Part, isLate: boolean): void {
    const { trigger, said, timer, answer } = part;
    clearTimeout(timer);
    this.#open.delete(trigger.id);
    const missing = this.#options.cameras.map(({ name }) => name).filter((name) => !said.has(name));
    if (missing.length > 0) this.#missing.set(trigger.id, new Set(missing));
    if (this.#missing.size > CLOSED_PARTS) this.#missing.delete(this.#missing.keys().next().value as string);
    const result = this.#answer(part, isLate);
    void this.#tell(result).then(() => answer.resolve(result));
  }

  #answer({ trigger, said }: Part, late: boolean): StationAnswer {
    const cameras = this.#options.cameras.map(({ name }) => ({ camera: name, ...(said.get(name) ?? MISSED) }));
    const worst = cameras.reduce((a, b) => (BADNESS[b.outcome] > BADNESS[a.outcome] ? b : a));
    return { station: this.name, triggerId: trigger.id, outcome: worst.outcome, late, cameras, ms: performance.now() - trigger.since };
  }

  async #tell(answer: StationAnswer): Promise<void> {
    const { output, log } = this.#options;
    const set = new AbortController();
    try {
      await Promise.race([output(answer), sleep(OUTPUT_PATIENCE_MS, undefined, { signal: set.signal }).catch(() => undefined)]);
      log.debug(answer, "part-answered");
    } catch (error) {
      log.error({ ...answer, why: errorLine(error) }, "line-output-not-set");
    } finally {
      set.abort();
    }
  }
}

const MISSED: Said = { outcome: "unknown", reason: "deadline-missed" };
