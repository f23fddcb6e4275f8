/**
 * One camera's frames between the camera and the inspector, in memory and bounded by count and bytes: what waits, what is let go of, and
 * how often, with the reason. In: frames as they come. Out: one at a time to `onFrame`, which answers it.
 *
 * With `newest-first` a new frame overtakes those that wait, which are let go of: a late look at an old picture is worth nothing.
 * `every-frame` keeps their order and refuses new ones while it is full. A frame that somebody waits for is never let go of: where
 * there is no room for it, its picture goes and it is answered `queue-full`. Every frame offered is in exactly one of: waiting, in
 * hand, answered, shed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type CameraCounts, errorLine, type Verdict } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Frame } from "../frame.ts";
import { cutToRegion } from "./region.ts";
import type { SourceOptions } from "./source.ts";

export type FrameQueueOptions = {
  camera: string;
  order: "newest-first" | "every-frame";
  /** Most that wait. */
  frames: number;
  onFrame: SourceOptions["onFrame"];
  log: Logger;
};
/** The frame's verdict, or why it was let go of. */
export type Outcome = { verdict: Verdict | null } | { shed: "newer-frame" | "queue-full" | "agent-stopping" };
type Waiting = { frame: Frame; settle: (outcome: Outcome) => void };
type Count = "shedNewer" | "shedFull" | "shedStopping";
const SHED: Record<Count, Outcome> = {
  shedNewer: { shed: "newer-frame" },
  shedFull: { shed: "queue-full" },
  shedStopping: { shed: "agent-stopping" },
};

/** Whatever the count: 256 frames of 20 megapixels would be 15 GB. */
const LIMIT_BYTES = 256 * 1024 * 1024;
const RETRY_MS = 1000;
/** Shedding is said at most so often, with how many it were. */
const SAY_EVERY_MS = 10_000;

export class FrameQueue {
  readonly counts: Omit<CameraCounts, "waiting"> = { offered: 0, answered: 0, late: 0, shedNewer: 0, shedFull: 0, shedStopping: 0 };
  #options: FrameQueueOptions;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #news = Promise.withResolvers<void>();
  #stopped = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(options: FrameQueueOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Finishes the frame in hand; what waits is let go of. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#news.resolve();
    await this.#running;
    for (const { settle } of this.#waiting.splice(0)) settle(this.#shed("shedStopping"));
  }

  /** Lets go of a frame before it has come, since there is no room for it. */
  refuse(): Outcome {
    this.counts.offered++;
    return this.#shed("shedFull");
  }

  /** Whether a frame that may wait would be refused now. */
  get isFull(): boolean {
    return this.#waiting.length >= this.#options.frames || this.#bytes >= LIMIT_BYTES;
  }

  /** Resolves once the frame is answered or let go of. */
  async offer(frame: Frame): Promise<Outcome> {
    this.counts.offered++;
    if (this.#stopped.signal.aborted) return this.#shed("shedStopping");
    if (this.#options.order === "newest-first" && (!frame.isAsked || this.isFull)) this.#overtake();
    if (this.isFull && !frame.isAsked) return this.#shed("shedFull");
    const kept: Frame = this.isFull ? { ...frame, bytes: null, unseen: "queue-full" } : frame;
    if (kept !== frame) this.#say("shedFull");
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.#waiting.push({ frame: kept, settle: resolve });
    this.#bytes += kept.bytes?.length ?? 0;
    this.#news.resolve();
    return promise;
  }

  /** Lets go of what nobody waits for. */
  #overtake(): void {
    for (const { frame, settle } of this.#waiting.filter((one) => !one.frame.isAsked)) {
      this.#bytes -= frame.bytes?.length ?? 0;
      settle(this.#shed("shedNewer"));
    }
    this.#waiting = this.#waiting.filter(({ frame }) => frame.isAsked);
  }

  #next(): Waiting | undefined {
    const { order } = this.#options;
    const asked = this.#waiting.findIndex(({ frame }) => frame.isAsked);
    // Somebody's deadline runs: those come before what the camera took by itself, in the order they were asked for.
    const i = order === "every-frame" ? 0 : Math.max(0, asked);
    const [next] = this.#waiting.splice(i, 1);
    this.#bytes -= next?.frame.bytes?.length ?? 0;
    return next;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      this.#news = Promise.withResolvers<void>();
      const next = this.#next();
      if (next) await this.#answer(next);
      else await this.#news.promise;
    }
  }

  async #answer({ frame, settle }: Waiting): Promise<void> {
    const isLate = performance.now() - frame.takenAt > frame.camera.deadlineMs;
    const ready = isLate ? frame : await cutToRegion(frame);
    while (!this.#stopped.signal.aborted) {
      try {
        const verdict = await this.#options.onFrame(ready);
        this.counts.answered++;
        if (isLate) this.counts.late++;
        return settle({ verdict });
      } catch (error) {
        this.#options.log.error({ camera: frame.camera.name, trigger: frame.triggerId, why: errorLine(error) }, "frame-not-answered");
        await sleep(RETRY_MS, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
      }
    }
    settle(this.#shed("shedStopping"));
  }

  #shed(reason: Count): Outcome {
    this.counts[reason]++;
    this.#say(reason);
    return SHED[reason];
  }

  #say(reason: Count): void {
    const now = performance.now();
    if (now - this.#saidAt < SAY_EVERY_MS) return;
    this.#saidAt = now;
    this.#options.log.warn({ camera: this.#options.camera, reason, waiting: this.waiting, ...this.counts }, "frames-shed");
  }
}
