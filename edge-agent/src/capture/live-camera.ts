/**
 * A camera that gives pictures without files: keeps its feed open for months, answers triggers, and lets pictures of its own accord
 * wait in a bounded queue. In: a Feed, which opens the camera once and gives pictures until that fails. Out: Frames.
 *
 * A trigger gets the first picture taken after it, never one from before: that shows another part. Where none comes by the deadline,
 * its frame is answered `frame-missing`.
 */
import { type CameraCounts, errorLine } from "@kenpin/schema";
import { Rest } from "../rest.ts";
import { Backoff } from "./backoff.ts";
import { FrameQueue } from "./frame-queue.ts";
import { liveFrame } from "./live-frame.ts";
import type { OpeningTurn } from "./opening-turn.ts";
import { orderOf, type Source, type SourceOptions, type Trigger } from "./source.ts";

export type FeedSink = {
  /** A picture whose taking began at `takenAt` (performance.now()). */
  onPicture: (bytes: Uint8Array, takenAt: number) => void;
  /** Resolves after `ms`, or at once where somebody waits for a picture or none is wanted any more. */
  rest: (ms: number) => Promise<void>;
  signal: AbortSignal;
};
/** Opens the camera and gives its pictures; rejects with one line, free of credentials, when that ends. */
export type Feed = (sink: FeedSink) => Promise<void>;
export type LiveCameraOptions = SourceOptions & { feed: Feed; intervalMs: number; turn: OpeningTurn; random: () => number };

type Open = { trigger: Trigger; timer: NodeJS.Timeout };

/** A picture may be late by half its interval. */
const PATIENT_INTERVALS = 1.5;
/** More than any line asks for at once. */
const OPEN_TRIGGERS = 64;

export class LiveCamera implements Source {
  #options: LiveCameraOptions;
  #queue: FrameQueue;
  #open: Open[] = [];
  #rest = new Rest();
  #stopped = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #lastAt = Number.NEGATIVE_INFINITY;
  #backoff: Backoff;
  #isTroubled = false;

  constructor(options: LiveCameraOptions) {
    const { camera, onFrame, log } = options;
    this.#options = options;
    this.#backoff = new Backoff(options.random);
    this.#queue = new FrameQueue({ camera: camera.name, order: orderOf(camera), frames: camera.queue.frames, onFrame, log });
  }

  start(): void {
    this.#queue.start();
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#rest.end();
    for (const { timer } of this.#open.splice(0)) clearTimeout(timer);
    await this.#running;
    await this.#queue.stop();
  }

  wake(): void {
    // pictures come by themselves
  }

  ask(trigger: Trigger): boolean {
    if (this.#open.length >= OPEN_TRIGGERS || this.#options.isPaused() || this.#stopped.signal.aborted) {
      this.#offer(trigger, null);
      return true;
    }
    const left = this.#options.camera.deadlineMs - (performance.now() - trigger.since);
    const timer = setTimeout(() => this.#giveUp(trigger), Math.max(0, left));
    this.#open.push({ trigger, timer });
    this.#rest.wake();
    return true;
  }

  counts(): CameraCounts {
    return { ...this.#queue.counts, waiting: this.#queue.waiting };
  }

  isFresh(): boolean {
    const { camera, intervalMs } = this.#options;
    return !this.#isTroubled && performance.now() - this.#lastAt <= Math.max(camera.staleMs, PATIENT_INTERVALS * intervalMs);
  }

  pictureAt(): number {
    return this.#lastAt;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const release = await this.#options.turn.take();
      try {
        if (!signal.aborted) await this.#options.feed(this.#sink(release));
      } catch (error) {
        this.#complain(error);
      } finally {
        release();
      }
      await this.#rest.forTime(this.#backoff.nextMs());
    }
  }

  #sink(release: () => void): FeedSink {
    return {
      onPicture: (bytes, takenAt) => {
        release();
        this.#take(bytes, takenAt);
      },
      rest: (ms) => (this.#open.length > 0 ? Promise.resolve() : this.#rest.forNews(ms)),
      signal: this.#stopped.signal,
    };
  }

  #take(bytes: Uint8Array, takenAt: number): void {
    const { camera, isPaused, log } = this.#options;
    if (this.#isTroubled) log.info({ camera: camera.name }, "camera-back");
    this.#isTroubled = false;
    this.#backoff.reset();
    this.#lastAt = performance.now();
    const due = this.#open.filter(({ trigger }) => trigger.at + camera.latencyMs <= takenAt);
    this.#open = this.#open.filter((open) => !due.includes(open));
    for (const { trigger, timer } of due) {
      clearTimeout(timer);
      this.#offer(trigger, bytes);
    }
    if (due.length === 0 && !camera.triggered && !isPaused())
      void this.#queue.offer(liveFrame(camera, { trigger: null, isAsked: false, bytes }));
  }

  #giveUp(trigger: Trigger): void {
    this.#open = this.#open.filter((open) => open.trigger !== trigger);
    this.#offer(trigger, null);
  }

  #offer(trigger: Trigger, bytes: Uint8Array | null): void {
    void this.#queue.offer(liveFrame(this.#options.camera, { trigger, isAsked: true, bytes, unseen: "frame-missing" }));
  }

  /** A camera that is away for a month is worth one line, not one every few seconds. */
  #complain(error: unknown): void {
    const { camera, log } = this.#options;
    log[this.#isTroubled ? "debug" : "warn"]({ camera: camera.name, why: errorLine(error) }, "camera-lost");
    this.#isTroubled = true;
  }
}
