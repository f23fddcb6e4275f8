/**
 * A camera that plays frames: copies each into the folder the agent watches and renames it in, as cameras that send by
 * FTP do, so the agent never sees half a file. Names carry the order and nothing of what the picture shows.
 */
import { copyFile, mkdir, rename } from "node:fs/promises";
import { extname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Frame } from "./frames.ts";

export type Played = { trigger: string; camera: string; frame: Frame };

export class LineCamera {
  readonly name: string;
  readonly folder: string;
  readonly played: Played[] = [];

  constructor(name: string, folder: string) {
    this.name = name;
    this.folder = folder;
  }

  /** Plays the frames in the given order, one each `intervalMs`; answers with what it played under which trigger. */
  async play(frames: Frame[], intervalMs: number, signal?: AbortSignal): Promise<Played[]> {
    await mkdir(this.folder, { recursive: true });
    const from = this.played.length;
    for (const frame of frames) {
      if (signal?.aborted) break;
      await this.#place(frame);
      await sleep(intervalMs);
    }
    return this.played.slice(from);
  }

  async #place(frame: Frame): Promise<void> {
    const trigger = `${this.name}-${String(this.played.length + 1).padStart(6, "0")}`;
    const name = trigger + extname(frame.file).toLowerCase();
    await copyFile(frame.file, join(this.folder, `.${name}.part`));
    await rename(join(this.folder, `.${name}.part`), join(this.folder, name));
    this.played.push({ trigger, camera: this.name, frame });
  }
}
