/**
 * Changes what decides, one change at a time: the first bundle, a desired one, a new set of references, a roll-back.
 * In: files, the hub's wish, crashes. Out: an adopted candidate and a BundleReported for each step.
 * download → unpack and verify → prove → switch between two frames → report; whatever fails, the old one goes on.
 * A new bundle is on probation for a minute: crashing repeatedly then, it is rolled back and not taken again.
 */
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Building, BundleDesired, type BundleReported, errorLine } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Chosen, Reference, Setup } from "../setup.ts";
import type { BundleStore } from "./bundle-store.ts";
import { download, HubAwayError } from "./download.ts";
import type { ReferenceStore } from "./reference-store.ts";

/** What the updater asks of the inspectors. */
type Inspectors<C extends { setup: Setup; references: number }> = {
  readonly setup: Setup;
  readonly references: number;
  readonly isRunning: boolean;
  /** `onBuilding` hears how an engine that takes long is getting on. */
  prepare: (setup: Setup, onBuilding?: (building: Building) => void) => Promise<C>;
  adopt: (candidate: C) => void;
};
export type UpdaterOptions<C extends { setup: Setup; references: number }> = {
  store: BundleStore;
  references: ReferenceStore;
  inspectors: Inspectors<C>;
  dataDir: string;
  hub: { url: string; token: string };
  report: (reported: BundleReported) => void;
  /** The first inspector is up, or given up; nothing else is changed before. */
  started: Promise<unknown>;
  log: Logger;
};

const PROBATION_MS = 60_000;
const CRASH_LIMIT = 3;
const FIRST_RETRY_MS = 2000;
const LONGEST_RETRY_MS = 60_000;
const REASON_LIMIT = 500;

export class Updater<C extends { setup: Setup; references: number }> {
  #options: UpdaterOptions<C>;
  #turn: Promise<void>;
  #stopped = new AbortController();
  #wanted: BundleDesired | null = null;
  /** Bundles whose bytes were bad; asked for again by the retained message, they are refused without a download. */
  #refused = new Map<string, string>();
  #crashes = 0;
  #probation: NodeJS.Timeout | null = null;

  constructor(options: UpdaterOptions<C>) {
    this.#options = options;
    this.#turn = Promise.race([options.started, once(this.#stopped.signal, "abort")]).then(
      () => undefined,
      () => undefined,
    );
    if (options.store.fallback) this.#beginProbation();
  }

  /** Says what runs now, or is about to. */
  reportRunning(): void {
    const { isRunning, setup } = this.#options.inspectors;
    if (isRunning) this.#report("running");
    else this.#report("proving", setup.bundle);
  }

  reportBuilding(candidate: string, building: Building): void {
    this.#report("building-engine", candidate, undefined, building);
  }

  /** Says that the bundle that ran last could not be started with, and what runs instead. */
  reportRolledBack({ digest, reason }: { digest: string; reason: string }): void {
    this.#report("rolled-back", digest, reason);
  }

  desire(payload: unknown): void {
    const parsed = BundleDesired.safeParse(payload);
    if (!parsed.success) {
      this.#options.log.warn({ why: parsed.error.issues[0]?.message }, "bundle-desired-malformed");
      return;
    }
    this.#wanted = parsed.data;
    this.#next(() => this.#follow(parsed.data));
  }

  /** Teaches the collected references, if a set is complete. */
  teach(): void {
    if (this.#options.references.complete()) this.#next(() => this.#teachSet());
  }

  /**
   * Other words, thresholds and references under the running bundle: proven and taught beside what runs, kept by `keep`, and in use
   * from the next frame on. Fails, changing nothing, with the reason.
   */
  apply({
    chosen,
    references,
    keep,
  }: {
    chosen: Chosen | null;
    references: readonly Pick<Reference, "sha256" | "label">[];
    keep: (setup: Setup) => void;
  }): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#next(async () => {
      const { store, references: frames, inspectors } = this.#options;
      try {
        const candidate = await inspectors.prepare(await store.setup(store.current ?? "", frames.located(references), chosen));
        keep(candidate.setup);
        inspectors.adopt(candidate);
        this.reportRunning();
        done.resolve();
      } catch (error) {
        done.reject(error);
      }
    });
    return done.promise;
  }

  onCrash(setup: Setup): void {
    const { store } = this.#options;
    if (!this.#probation || setup.bundle !== store.current || !store.fallback) return;
    this.#crashes++;
    this.#armProbation(); // the minute counts from the last crash, however slowly a worker comes back
    if (this.#crashes >= CRASH_LIMIT) this.#next(() => this.#rollBack());
  }

  /** Gives up waiting; a switch under way is finished. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    if (this.#probation) clearTimeout(this.#probation);
    await this.#turn;
  }

  #next(change: () => Promise<void>): void {
    this.#turn = this.#turn.then(change).catch((error) => this.#options.log.error({ why: errorLine(error) }, "update-failed"));
  }

  async #follow(desired: BundleDesired): Promise<void> {
    const { store, inspectors, dataDir, log } = this.#options;
    if (this.#stopped.signal.aborted || this.#wanted !== desired || desired.digest === store.current) return;
    const known = store.rolledBack?.digest === desired.digest ? store.rolledBack : null;
    if (known) return this.#report("rolled-back", desired.digest, known.reason);
    const refusal = this.#refused.get(desired.digest);
    if (refusal !== undefined) return this.#report("refused", desired.digest, refusal);
    const file = join(dataDir, "incoming.kenpin");
    try {
      this.#report("downloading", desired.digest);
      if (!(await this.#fetch(desired, file))) return;
      this.#report("proving", desired.digest);
      const candidate = await this.#prove(desired, file);
      store.adopt(candidate.setup);
      inspectors.adopt(candidate);
      this.#beginProbation();
      log.info({ bundle: desired.digest, release: candidate.setup.manifest.release }, "bundle-adopted");
      this.reportRunning();
    } catch (error) {
      log.warn({ bundle: desired.digest, why: errorLine(error) }, "bundle-refused");
      this.#report("refused", desired.digest, errorLine(error));
    } finally {
      await rm(file, { force: true });
    }
  }

  /** Tries until the hub answers; false where something else is wanted meanwhile. */
  async #fetch(desired: BundleDesired, file: string): Promise<boolean> {
    const { hub, log } = this.#options;
    const { signal } = this.#stopped;
    for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_RETRY_MS)) {
      try {
        await download({ hub, desired, file, signal });
        return true;
      } catch (error) {
        if (!(error instanceof HubAwayError)) throw error;
        log.warn({ why: errorLine(error), again: waitMs }, "hub-away");
      }
      await sleep(waitMs * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined);
      if (signal.aborted || this.#wanted !== desired) return false;
    }
  }

  async #prove(desired: BundleDesired, file: string): Promise<C> {
    const { store, inspectors } = this.#options;
    try {
      await store.install(file, desired.digest);
      return await inspectors.prepare(await store.setup(desired.digest), (building) => this.reportBuilding(desired.digest, building));
    } catch (error) {
      this.#refused.set(desired.digest, errorLine(error));
      if (desired.digest !== store.current && desired.digest !== store.fallback) await store.forget(desired.digest);
      throw error;
    }
  }

  async #teachSet(): Promise<void> {
    const { store, references, inspectors, log } = this.#options;
    const complete = references.complete();
    if (!complete || !store.current) return;
    try {
      const candidate = await inspectors.prepare(await store.setup(store.current, complete.frames));
      references.activate(complete.set);
      inspectors.adopt(candidate);
      log.info({ references: candidate.references }, "memory-bank-taught");
    } catch (error) {
      references.discard(complete.set);
      log.error({ why: errorLine(error) }, "memory-bank-not-taught");
    }
    this.reportRunning();
  }

  async #rollBack(): Promise<void> {
    const { store, inspectors, log } = this.#options;
    const { current: bad, fallback: good } = store;
    if (!bad || !good) return;
    const reason = `its inspector crashed ${this.#crashes} times within its first minute`;
    const candidate = await inspectors.prepare(await store.setup(good));
    store.rollBack(bad, reason, good);
    inspectors.adopt(candidate);
    this.#endProbation();
    log.error({ bundle: bad, to: good, reason }, "bundle-rolled-back");
    this.#report("rolled-back", bad, reason);
    await store.sweep();
  }

  #beginProbation(): void {
    this.#endProbation();
    this.#armProbation();
  }

  #armProbation(): void {
    if (this.#probation) clearTimeout(this.#probation);
    this.#probation = setTimeout(() => {
      if (!this.#options.inspectors.isRunning) return this.#armProbation();
      this.#endProbation();
      this.#next(() => this.#options.store.confirm());
    }, PROBATION_MS);
  }

  #endProbation(): void {
    if (this.#probation) clearTimeout(this.#probation);
    this.#probation = null;
    this.#crashes = 0;
  }

  #report(state: BundleReported["state"], candidate?: string, reason?: string, building?: Building): void {
    const { inspectors, report } = this.#options;
    const { bundle, settings, manifest } = inspectors.setup;
    report({
      schemaVersion: 1,
      state,
      digest: bundle,
      settings,
      release: manifest.release,
      references: inspectors.references,
      ...(candidate !== undefined && { candidate }),
      ...(building && { building }),
      ...(reason !== undefined && { reason: reason.slice(0, REASON_LIMIT) }),
      at: new Date().toISOString(),
    });
  }
}
