/**
 * Keeps an inspector worker running on the current setup, and swaps it for a proven one between two frames.
 * In: frames with a deadline. Out: what was seen, or why nothing was. A worker that crashes is started again with backoff;
 * meanwhile frames wait for it as long as their deadline allows. Golden scores are those of words alone, so a worker is
 * proven before it is taught.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type Inspection, type Inspector, proveGolden } from "@kenpin/inspector";
import { type Building, errorLine, type InspectorStatus, KenpinError, type UnknownReason } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Setup } from "../setup.ts";
import type { OnBuilding } from "./launcher.ts";

/** A worker that has proven its golden images and holds the setup's references; not in use yet. */
export type Candidate = { setup: Setup; worker: Inspector; references: number; hangMs: number };
export type Seen = { setup: Setup; provider: string } & (
  | { inspection: Inspection; map: Uint8Array; failure: null }
  | { inspection: null; map: null; failure: UnknownReason }
);
export type SupervisorOptions = {
  /** Starts an inspector, and tells of what takes long meanwhile. */
  launch: (setup: Setup, onBuilding: OnBuilding, signal: AbortSignal) => Promise<Inspector>;
  runtime: InspectorStatus["runtime"];
  log: Logger;
  /** Where what was taught to a bundle is kept over a restart. */
  banks: { read: (bundle: string) => Promise<Uint8Array | null>; write: (bundle: string, bank: Uint8Array) => Promise<void> };
  /** Told of every crash and of every restart that failed. */
  onCrash: (setup: Setup) => void;
  /** Told when what `status` says has changed. */
  onStatus: () => void;
};

const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 15_000;
/** A worker that lived this long starts the backoff over. */
const SETTLED_MS = 60_000;
/** A worker that answers nothing for so many times what a golden image took hangs; within these bounds. */
const HANG_TIMES = 20;
const HANG_MS = { least: 5000, most: 30_000 };
/** Node's timers fire at once past 2^31 − 1. */
const TIMER_LIMIT_MS = 2 ** 31 - 1;
/** Said of a frame that no worker looked at. */
const NO_PROVIDER = "none";

/** How often a long teaching says how far it is. */
const PROGRESS_MS = 2000;

type Running = Candidate & { inHand: Set<Promise<Seen>>; startedAt: number };

export class Supervisor {
  #options: SupervisorOptions;
  #setup: Setup;
  #references = 0;
  #ready = Promise.withResolvers<Running>();
  #running: Running | null = null;
  #waitMs = FIRST_WAIT_MS;
  #closed = new AbortController();
  #retiring = new Set<Promise<void>>();
  #building: Building | null = null;

  /** Begins without a worker: frames are `model-not-ready` until one is adopted. */
  constructor(setup: Setup, options: SupervisorOptions) {
    this.#setup = setup;
    this.#options = options;
  }

  get setup(): Setup {
    return this.#setup;
  }

  get isRunning(): boolean {
    return this.#running !== null;
  }

  get status(): InspectorStatus {
    const { runtime } = this.#options;
    if (this.#running) return { state: "running", runtime, provider: this.#running.worker.provider };
    if (this.#building) return { state: "building-engine", runtime, provider: NO_PROVIDER, building: this.#building };
    return { state: "starting", runtime, provider: NO_PROVIDER };
  }

  get references(): number {
    return this.#references;
  }

  /** Looks at a frame until `deadlineMs` have passed since `takenAt`. */
  async inspect({ bytes, takenAt, deadlineMs, map = false }: { bytes: Uint8Array; takenAt: number; deadlineMs: number; map?: boolean }) {
    const late = new AbortController();
    const left = Math.min(Math.max(0, deadlineMs - (performance.now() - takenAt)), TIMER_LIMIT_MS);
    const deadline = sleep(left, null, { signal: late.signal }).catch(() => null);
    try {
      const running = await Promise.race([this.#ready.promise, deadline]);
      if (!running) return failed(this.#setup, NO_PROVIDER, "model-not-ready");
      return (
        (await Promise.race([look(running, bytes, map), deadline])) ?? failed(running.setup, running.worker.provider, "deadline-missed")
      );
    } finally {
      late.abort();
    }
  }

  /**
   * Starts a second worker on `setup`, proves it, teaches it; throws with the reason and leaves the current one alone.
   * `onBuilding` is told again and again while an engine is built or something else takes long.
   */
  async prepare(setup: Setup, onBuilding: OnBuilding = () => undefined): Promise<Candidate> {
    try {
      const told = (building: Building) => {
        this.#setBuilding(building);
        onBuilding(building);
      };
      const launch = (folder: string) => this.#options.launch({ ...setup, folder }, told, this.#closed.signal);
      return await this.#proven(setup, launch);
    } finally {
      this.#setBuilding(null);
    }
  }

  /** Golden scores are those of the bundle's own words; other words are then said to a worker of their own. */
  async #proven(setup: Setup, launch: (folder: string) => Promise<Inspector>): Promise<Candidate> {
    let worker = await launch(setup.folder);
    const giveUp = () => void worker.close();
    this.#closed.signal.addEventListener("abort", giveUp);
    try {
      const began = performance.now();
      const proof = await proveGolden(worker, setup.folder, setup.manifest);
      if (!proof.ok) throw new KenpinError("golden-mismatch", `the bundle was refused: ${proof.reason}`);
      const goldenMs = (performance.now() - began) / setup.manifest.golden.length;
      const hangMs = Math.min(HANG_MS.most, Math.max(HANG_MS.least, HANG_TIMES * goldenMs));
      if (setup.wordsFolder !== setup.folder) {
        await worker.close();
        worker = await launch(setup.wordsFolder);
      }
      return { setup, worker, references: await this.#teach(worker, setup), hangMs };
    } catch (error) {
      await worker.close();
      throw error;
    } finally {
      this.#closed.signal.removeEventListener("abort", giveUp);
    }
  }

  /** From the next frame on the candidate decides; the old worker ends once it has answered what it has in hand. */
  adopt(candidate: Candidate): void {
    const old = this.#running;
    const running: Running = { ...candidate, inHand: new Set(), startedAt: performance.now() };
    this.#running = running;
    if (this.#setup.bundle !== candidate.setup.bundle) this.#waitMs = FIRST_WAIT_MS;
    this.#setup = candidate.setup;
    this.#references = candidate.references;
    const waiting = this.#ready;
    this.#ready = Promise.withResolvers<Running>();
    this.#ready.resolve(running);
    waiting.resolve(running);
    const { pid, provider, runtime } = running.worker;
    const facts = { pid, provider, runtime: `${runtime.kind} ${runtime.version}`, bundle: running.setup.bundle };
    this.#options.log.info({ ...facts, references: running.references }, "inspector-running");
    this.#options.onStatus();
    if (old) this.#retire(old);
    void running.worker.ended.then(() => this.#onEnded(running));
  }

  /** Keeps trying to bring a worker up on the current setup. */
  async recover(): Promise<void> {
    const setup = this.#setup;
    while (!this.#running && !this.#closed.signal.aborted && this.#setup === setup) {
      await sleep(this.#waitMs, undefined, { signal: this.#closed.signal }).catch(() => undefined);
      this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS);
      if (this.#running || this.#closed.signal.aborted || this.#setup !== setup) return;
      try {
        const candidate = await this.prepare(setup);
        if (this.#running || this.#closed.signal.aborted || this.#setup !== setup) await candidate.worker.close();
        else this.adopt(candidate);
      } catch (error) {
        this.#options.log.error({ bundle: setup.bundle, why: errorLine(error) }, "inspector-not-started");
        this.#options.onCrash(setup);
      }
    }
  }

  async close(): Promise<void> {
    this.#closed.abort();
    const running = this.#running;
    this.#running = null;
    await Promise.all([running?.worker.close(), ...this.#retiring]);
  }

  /** From the bank that was kept, as far as it goes; what is taught anew is kept in turn. Answers how many good frames it holds. */
  async #teach(worker: Inspector, { bundle, references }: Setup): Promise<number> {
    const { banks, log } = this.#options;
    if (references.length === 0) return 0;
    const kept = await banks.read(bundle);
    if (kept) {
      const refused = (error: unknown) => log.warn({ bundle, why: errorLine(error) }, "memory-bank-refused");
      const loaded = await worker.loadBank(kept).catch(refused);
      if (loaded && isTaughtFrom(loaded.lessons, references)) {
        log.info({ bundle, references: loaded.taught.references, bad: loaded.taught.bad, isNew: false }, "inspector-taught");
        return loaded.taught.references; // no frame need be on this device
      }
    }
    const exemplars = await Promise.all(references.map(async ({ file, label }) => ({ frame: await readFile(file), label })));
    const taught = await worker.teach(exemplars, { onProgress: progressLog(log) });
    log.info({ bundle, references: taught.references, bad: taught.bad, isNew: taught.isNew }, "inspector-taught");
    if (taught.isNew && taught.references > 0) {
      const bank = await worker.saveBank();
      await banks.write(bundle, bank).catch((error: unknown) => log.warn({ why: errorLine(error) }, "memory-bank-not-kept"));
    }
    return taught.references;
  }

  #onEnded(running: Running): void {
    if (this.#running !== running || this.#closed.signal.aborted) return;
    const { pid } = running.worker;
    this.#options.log.error({ pid, bundle: running.setup.bundle, why: running.worker.lastWords() }, "inspector-crashed");
    if (performance.now() - running.startedAt > SETTLED_MS) this.#waitMs = FIRST_WAIT_MS;
    this.#running = null;
    this.#ready = Promise.withResolvers<Running>();
    this.#options.onStatus();
    this.#options.onCrash(running.setup);
    void this.recover();
  }

  #setBuilding(building: Building | null): void {
    if (this.#building === building) return;
    this.#building = building;
    if (!this.#running) this.#options.onStatus();
  }

  #retire(old: Running): void {
    const gone = Promise.allSettled(old.inHand).then(() => old.worker.close());
    this.#retiring.add(gone);
    void gone.finally(() => this.#retiring.delete(gone));
  }
}

function isTaughtFrom(lessons: readonly { digest: string; label: string }[], references: Setup["references"]): boolean {
  const same = (lesson: { digest: string; label: string }, i: number) =>
    lesson.digest === references[i]?.sha256 && lesson.label === references[i].label;
  return lessons.length === references.length && lessons.every(same);
}

/** A teaching of hundreds of frames takes minutes, in which somebody may wait. */
function progressLog(log: Logger): (done: number, of: number) => void {
  let saidAt = performance.now();
  return (done, of) => {
    if (performance.now() - saidAt < PROGRESS_MS) return;
    saidAt = performance.now();
    log.info({ done, of }, "teaching");
  };
}

function look(running: Running, bytes: Uint8Array, map: boolean): Promise<Seen> {
  const { setup, worker, inHand, hangMs } = running;
  const asked = worker.inspect(bytes, { map, timeoutMs: hangMs }).then(
    (answer): Seen => {
      // JSON turns NaN into null: a model that answers so has nothing to say.
      if (!Number.isFinite(answer.inspection.score)) return failed(setup, worker.provider, "inspector-failed");
      return { setup, provider: worker.provider, ...answer, failure: null };
    },
    (error): Seen => {
      const unreadable = error instanceof KenpinError && error.code === "image-unreadable";
      return failed(setup, worker.provider, unreadable ? "frame-unreadable" : "inspector-failed");
    },
  );
  inHand.add(asked);
  void asked.finally(() => inHand.delete(asked));
  return asked;
}

/** What is said of a frame that nothing could look at. */
export function failed(setup: Setup, provider: string, failure: UnknownReason): Seen {
  return { setup, provider, inspection: null, map: null, failure };
}
