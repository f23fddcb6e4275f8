/**
 * Keeps what lies on the disk within its limits, off the capture path: a little at a time, with a pause for the line in between.
 * In: shelves, each with what it holds and how to take its oldest away. By age and bytes a shelf gives what is beyond its limits.
 * When the disk has less room than it should, shelves give in their order, whatever their limits: pictures first, since taking a file
 * away needs no room, then what the hub has already, then samples. What the hub has not acknowledged is on no shelf: verdicts that
 * wait are never given, and the outbox has its own stated cap.
 */
import { setImmediate as breath } from "node:timers/promises";
import { errorLine } from "@kenpin/schema";
import type { Logger } from "pino";

export type Shelf = {
  name: string;
  /** Most bytes, and how old the oldest may become in milliseconds; null where there is no such limit. */
  limits: { bytes: number | null; ageMs: number | null };
  bytes: () => number;
  /** Takes at most `most` of the oldest away, those from before `before` alone where it is given; answers how many. */
  give: (most: number, before?: number) => number | Promise<number>;
};
export type RetentionOptions = {
  /** In the order in which they give when there is no room. */
  shelves: readonly Shelf[];
  /** Bytes the agent may still write: what is free on the disk and inside the database. */
  room: () => Promise<number>;
  keepFreeBytes: number;
  now: () => number;
  log: Logger;
};
export type DiskStanding = { roomBytes: number; isShort: boolean };

const EVERY_MS = 10_000;
/** Rows in one transaction, or files in one turn: a few milliseconds. */
const BATCH = 200;
/** Where the bytes are looked at in between. */
const BATCH_OF_MEASURED = 20;

export class Retention {
  #options: RetentionOptions;
  #timer: NodeJS.Timeout | null = null;
  #tidying: Promise<void> | null = null;
  #standing: DiskStanding = { roomBytes: Number.POSITIVE_INFINITY, isShort: false };

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  get standing(): DiskStanding {
    return this.#standing;
  }

  start(): void {
    this.#timer = setInterval(() => void this.tidy(), EVERY_MS);
    void this.tidy();
  }

  async stop(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    await this.#tidying;
  }

  /** One at a time; who asks while one runs waits for that one. */
  tidy(): Promise<void> {
    this.#tidying ??= this.#tidy().finally(() => {
      this.#tidying = null;
    });
    return this.#tidying;
  }

  async #tidy(): Promise<void> {
    for (const shelf of this.#options.shelves) await this.#guarded(shelf, () => this.#keepWithin(shelf));
    await this.#makeRoom();
  }

  async #keepWithin(shelf: Shelf): Promise<void> {
    const { now, log } = this.#options;
    const { name, limits } = shelf;
    let given = 0;
    const before = limits.ageMs === null ? null : now() - limits.ageMs;
    const isTooMuch = () => limits.bytes !== null && shelf.bytes() > limits.bytes;
    for (let gone = BATCH; before !== null && gone === BATCH; given += gone) {
      gone = await shelf.give(BATCH, before);
      await breath();
    }
    for (let gone = BATCH; gone > 0 && isTooMuch(); given += gone) {
      gone = await shelf.give(BATCH_OF_MEASURED);
      await breath();
    }
    if (given > 0) log.debug({ shelf: name, gone: given }, "retention");
  }

  async #makeRoom(): Promise<void> {
    const { shelves, keepFreeBytes, log } = this.#options;
    let room = await this.#room();
    const wasShort = this.#standing.isShort;
    const isShort = room < keepFreeBytes;
    this.#standing = { roomBytes: room, isShort };
    if (isShort && !wasShort) log.error({ roomBytes: room, keepFreeBytes }, "disk-short");
    for (const shelf of shelves) {
      let given = 0;
      for (let gone = 1; room < keepFreeBytes && gone > 0; given += gone) {
        gone = await this.#guarded(shelf, () => shelf.give(BATCH));
        await breath();
        room = await this.#room();
      }
      if (given > 0) log.error({ shelf: shelf.name, gone: given, roomBytes: room }, "shed-for-room");
    }
    this.#standing = { roomBytes: room, isShort: room < keepFreeBytes };
    if (wasShort && !this.#standing.isShort) log.info({ roomBytes: room }, "disk-has-room-again");
  }

  /** A disk that cannot be asked is not taken for a full one. */
  async #room(): Promise<number> {
    try {
      return await this.#options.room();
    } catch (error) {
      this.#options.log.error({ why: errorLine(error) }, "disk-not-measured");
      return Number.POSITIVE_INFINITY;
    }
  }

  /** A full disk may refuse even what would empty it; another shelf may still give. */
  async #guarded<T>(shelf: Shelf, work: () => T | Promise<T>): Promise<T | 0> {
    try {
      return await work();
    } catch (error) {
      this.#options.log.error({ shelf: shelf.name, why: errorLine(error) }, "retention-failed");
      return 0;
    }
  }
}
