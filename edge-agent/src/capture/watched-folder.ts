/**
 * A camera that delivers files: each is taken once it has been renamed into the folder, one at a time, in name order or, where
 * that is the queue's order, the last name first; then the oldest go unanswered once more than the queue's length lie there.
 * In: the folder. Out: a Frame to `onFrame`, which answers it; its file is removed only after that.
 * Names that begin with "." are still being written. fs.watch loses events (inotify(7)), so a slow rescan stands behind it.
 *
 * A camera may use a name again: a file is the same frame only if name, bytes and time of change are all the same.
 */
import { type FSWatcher, watch } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type CameraCounts, errorLine } from "@kenpin/schema";
import type { Frame } from "../frame.ts";
import { Rest } from "../rest.ts";
import { isStillThere, readFrame } from "./frame-file.ts";
import { orderOf, type Source, type SourceOptions } from "./source.ts";

export type WatchedFolderOptions = SourceOptions & {
  path: string;
  /** Told once the file of an answered frame is gone. */
  onRemoved: (frame: Frame) => void;
};

const RESCAN_MS = 1000;
const RETRY_MS = 1000;

export class WatchedFolder implements Source {
  #options: WatchedFolderOptions;
  #folder: string;
  #watcher: FSWatcher | null = null;
  #isStopped = false;
  #running: Promise<void> = Promise.resolve();
  #rest = new Rest();
  /** Answered files that would not go away, by name and time: they are not read again. */
  #stuck = new Set<string>();
  #troubled = false;
  #waiting = 0;
  #answered = 0;
  #shed = 0;

  constructor(options: WatchedFolderOptions) {
    this.#options = options;
    this.#folder = options.path;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Looks again now; for whoever lifted a pause. */
  wake(): void {
    this.#rest.wake();
  }

  /** A file names its own trigger. */
  ask(): boolean {
    return false;
  }

  counts(): CameraCounts {
    const [waiting, answered, shedNewer] = [this.#waiting, this.#answered, this.#shed];
    return { offered: waiting + answered + shedNewer, answered, late: 0, shedNewer, shedFull: 0, shedStopping: 0, waiting };
  }

  isFresh(): boolean {
    return !this.#troubled;
  }

  pictureAt(): null {
    return null;
  }

  /** Finishes the frame in hand. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#rest.end();
    await this.#running;
    this.#watcher?.close();
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const answered = await this.#scan();
      if (answered === 0) await this.#rest.forNews(RESCAN_MS);
    }
  }

  /** Answers what lies in the folder now; how many that were. */
  async #scan(): Promise<number> {
    if (this.#options.isPaused()) return 0;
    let answered = 0;
    for (const name of await this.#turn(await this.#list())) {
      if (this.#isStopped || this.#options.isPaused()) break;
      const result = await this.#answer(name);
      if (result === "failed") break; // later frames must not overtake it
      if (result === "answered") answered++;
    }
    return answered;
  }

  /** Which of these names are answered before the folder is looked at again. */
  async #turn(names: string[]): Promise<string[]> {
    const { camera, log } = this.#options;
    this.#waiting = names.length;
    if (orderOf(camera) === "every-frame") return names;
    const overtaken = names.slice(0, Math.max(0, names.length - camera.queue.frames));
    for (const name of overtaken) {
      await rm(join(this.#folder, name), { force: true });
      this.#shed++;
      this.#waiting--;
    }
    if (overtaken.length > 0)
      log.warn({ camera: camera.name, reason: "shedNewer", count: overtaken.length, ...this.counts() }, "frames-shed");
    return names.slice(-1);
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
    const file = join(this.#folder, name);
    try {
      const frame = await readFrame(camera, file, (modifiedNs) => this.#stuck.has(`${name} ${modifiedNs}`));
      if (!frame) return "skipped";
      await onFrame(frame);
      this.#answered++;
      this.#waiting--;
      if (await this.#remove(frame, file, name)) onRemoved(frame);
      return "answered";
    } catch (error) {
      log.error({ camera: camera.name, file: name, why: errorLine(error) }, "frame-not-answered");
      await this.#rest.forTime(RETRY_MS);
      return "failed";
    }
  }

  /** Whether the answered file is gone; one renamed over it, or written anew, stays for the next scan. */
  async #remove(frame: Frame, file: string, name: string): Promise<boolean> {
    try {
      if (await isStillThere(file, frame)) await rm(file, { force: true });
      return true;
    } catch (error) {
      this.#stuck.add(`${name} ${frame.modifiedNs}`);
      this.#options.log.error({ camera: frame.camera.name, file: name, why: errorLine(error) }, "frame-not-removable");
      return false;
    }
  }
}
