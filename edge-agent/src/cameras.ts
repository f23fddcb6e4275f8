/**
 * The agent's cameras as one: opened from the configuration, started one after another, asked for frames by name, and what is to be
 * said of each. In: the pipeline that answers frames. Out: sources by camera name.
 */
import type { AgentConfig, CameraStatus } from "@kenpin/schema";
import type { Logger } from "pino";
import { OpeningTurn } from "./capture/opening-turn.ts";
import { openSource } from "./capture/open-source.ts";
import type { Source, SourceOptions } from "./capture/source.ts";
import type { Frame } from "./frame.ts";

export type CamerasOptions = Pick<SourceOptions, "onFrame"> & {
  onRemoved: (frame: Frame) => void;
  isPaused: (camera: string) => boolean;
  /** Told when a camera began or ended to be stale or paused. */
  onChange: () => void;
  random: () => number;
  log: Logger;
};

/** A camera that went stale says nothing by itself. */
const LOOK_MS = 1000;

export class Cameras {
  readonly sources = new Map<string, Source>();
  #isPaused: (camera: string) => boolean = () => false;
  #looking: NodeJS.Timeout | null = null;

  start(cameras: AgentConfig["cameras"], { isPaused, onChange, ...options }: CamerasOptions): void {
    const turn = new OpeningTurn();
    this.#isPaused = isPaused;
    for (const camera of cameras) {
      this.sources.set(camera.name, openSource({ ...options, camera, turn, isPaused: () => isPaused(camera.name) }));
    }
    for (const source of this.sources.values()) source.start();
    this.#looking = setInterval(onChange, LOOK_MS);
  }

  isPaused(camera: string): boolean {
    return this.#isPaused(camera);
  }

  async stop(): Promise<void> {
    if (this.#looking) clearInterval(this.#looking);
    await Promise.all([...this.sources.values()].map((source) => source.stop()));
  }

  status(): CameraStatus[] {
    return [...this.sources].map(([name, source]) => {
      const state = this.#isPaused(name) ? "paused" : source.isFresh() ? "running" : "stale";
      return { name, state, frames: source.counts() };
    });
  }
}
