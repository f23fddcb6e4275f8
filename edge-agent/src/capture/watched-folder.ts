/**
 * A camera that delivers files: each is taken once it has been renamed into the folder, in name order, one at a time.
 * In: the folder. Out: a Frame to `onFrame`, which answers it; its file is removed only after that.
 * Names that begin with "." are still being written. fs.watch loses events (inotify(7)), so a slow rescan stands behind it.
 *
 * A camera may use a name again: a file is the same frame only if name, bytes and time of change are all the same.
 */
import { type FSWatcher, watch } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Camera, errorLine } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Frame } from "../frame.ts";
import { isStillThere, readFrame } from "./frame-file.ts";

export type WatchedFolderOptions = {
  camera: Camera;
  /** Answers the frame; when it throws, the frame stays and is tried again. */
  onFrame: (frame: Frame) => Promise<void>;
  /** Told once the file of an answered frame is gone. */
  onRemoved: (frame: Frame) => void;
  isPaused: () => boolean;
  log: Logger;
};

const RESCAN_MS = 1000;
const RETRY_MS = 1000;

export class WatchedFolder {
  #options: WatchedFolderOptions;
  #folder: string;
  #watcher: FSWatcher | null = null;
  #stopped = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #news = Promise.withResolvers<void>();
  /** Answered files that would not go away, by name and time: they are not read again. */
  #stuck = new Set<string>();
  #troubled = false;

  constructor(options: WatchedFolderOptions) {
    this.#options = options;
    this.#folder = options.camera.source.path;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Looks again now; for whoever lifted a pause. */
  wake(): void {
    this.#news.resolve();
  }

  /** Finishes the frame in hand. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.wake();
    await this.#running;
    this.#watcher?.close();
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      this.#news = Promise.withResolvers<void>();
      const answered = await this.#scan();
      if (answered === 0 && !this.#stopped.signal.aborted) await this.#pause(RESCAN_MS, this.#news.promise);
    }
  }

  /** Answers what lies in the folder now; how many that were. */
  async #scan(): Promise<number> {
    if (this.#options.isPaused()) return 0;
    let answered = 0;
    for (const name of await this.#list()) {
      if (this.#stopped.signal.aborted || this.#options.isPaused()) break;
      const result = await this.#answer(name);
      if (result === "failed") break; // later frames must not overtake it
      if (result === "answered") answered++;
    }
    return answered;
  }

  async #list(): Promise<string[]> {
    try {
      await mkdir(this.#folder, { recursive: true });
      this.#watch();
      const entries = await readdir(this.#folder, { withFileTypes: true });
      this.#troubled = false;
      return entries
        .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
        .map((entry) => entry.name)
        .sort();
    } catch (error) {
      if (!this.#troubled) this.#options.log.error({ folder: this.#folder, why: errorLine(error) }, "folder-unreadable");
      this.#troubled = true;
      return [];
    }
  }

  #watch(): void {
    if (this.#watcher) return;
    const watcher = watch(this.#folder, { persistent: false }, () => this.wake());
    watcher.on("error", () => {
      watcher.close();
      this.#watcher = null; // the rescan goes on, and watches again
    });
    this.#watcher = watcher;
  }

  async #answer(name: string): Promise<"answered" | "skipped" | "failed"> {
    const { camera, onFrame, onRemoved, log } = this.#options;
    try {
      const frame = await readFrame(camera, join(this.#folder, name), (modifiedNs) => this.#stuck.has(`${name} ${modifiedNs}`));
      if (!frame) return "skipped";
      await onFrame(frame);
      if (await this.#remove(frame, name)) onRemoved(frame);
      return "answered";
    } catch (error) {
      log.error({ camera: camera.name, file: name, why: errorLine(error) }, "frame-not-answered");
      await this.#pause(RETRY_MS);
      return "failed";
    }
  }

  /** Whether the answered file is gone; one renamed over it, or written anew, stays for the next scan. */
  async #remove(frame: Frame, name: string): Promise<boolean> {
    try {
      if (await isStillThere(frame)) await rm(frame.file, { force: true });
      return true;
    } catch (error) {
      this.#stuck.add(`${name} ${frame.modifiedNs}`);
      this.#options.log.error({ camera: frame.camera.name, file: name, why: errorLine(error) }, "frame-not-removable");
      return false;
    }
  }

  async #pause(ms: number, news: Promise<void> = Promise.withResolvers<void>().promise): Promise<void> {
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.#stopped.signal]);
    await Promise.race([news, sleep(ms, undefined, { signal }).catch(() => undefined)]);
    over.abort();
  }
}
