/**
 * The drift of all cameras. In: frames that were answered, with what was seen of them; only those that are trusted count. Out: the
 * drift message of a camera whenever a window is whole, and which cameras drift now. It runs after the verdict is committed, and a
 * fault in it costs no verdict.
 */
import type { Inspection } from "@kenpin/inspector";
import { type AgentConfig, type AgentSnapshot, type Drift, DRIFT_VERSION, errorLine } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import type { Logger } from "pino";
import type { Database } from "../database.ts";
import type { Setup } from "../setup.ts";
import { driftRow } from "./drift-figures.ts";
import { keptReference } from "./drift-reference-store.ts";
import { DriftWatch } from "./drift-watch.ts";

export type DriftMonitorOptions = {
  config: Pick<AgentConfig, "site" | "line" | "agent" | "cameras">;
  db: Database;
  bootId: string;
  /** Told of every whole window. */
  onReading: (drift: Drift) => void;
  log: Logger;
  now?: () => Date;
};
type Answered = { camera: string; takenAt: number; inspection: Inspection; setup: Pick<Setup, "bundle" | "settings"> };

export class DriftMonitor {
  #options: DriftMonitorOptions;
  #watches: Map<string, DriftWatch>;
  #last = new Map<string, Drift>();

  constructor(options: DriftMonitorOptions) {
    const { config, db, bootId, now = () => new Date() } = options;
    this.#options = options;
    const seed = Number.parseInt(bootId.slice(0, 8), 16);
    this.#watches = new Map(
      config.cameras.map(({ name }, i) => [
        name,
        new DriftWatch({ kept: keptReference(db, name), random: createRandom((seed ^ i) >>> 0), now }),
      ]),
    );
  }

  /** Names of the cameras that drift now. */
  get drifting(): string[] {
    return [...this.#watches].filter(([, { state }]) => state === "drifting").map(([name]) => name);
  }

  /** How each camera stands, with what its last window said. */
  get standing(): AgentSnapshot["drift"] {
    return [...this.#watches].map(([camera, { state, since }]) => {
      const last = state === "gathering" ? undefined : this.#last.get(camera);
      return { camera, state, since, p: last?.test?.p ?? null, most: last?.figures[0]?.name ?? null };
    });
  }

  /** A frame that was trusted. */
  see({ camera, takenAt, inspection, setup }: Answered): void {
    const watch = this.#watches.get(camera);
    if (!watch) return;
    try {
      const before = watch.state;
      const reading = watch.take(driftRow(inspection), { at: takenAt, decidedBy: setup.settings });
      if (!reading) return;
      const { config, bootId, onReading, log, now = () => new Date() } = this.#options;
      const { site, line, agent } = config;
      const { bundle, settings } = setup;
      const whose = { schemaVersion: DRIFT_VERSION, site, line, agent, camera, bootId, at: now().toISOString() } as const;
      if (reading.state !== before) {
        const most = reading.figures[0];
        const facts = { camera, p: reading.test?.p, most: most?.name, was: most?.reference.p50, is: most?.window.p50 };
        log[reading.state === "drifting" ? "warn" : "info"](facts, `drift-${reading.state}`);
      }
      const drift: Drift = { ...whose, ...reading, bundle, settings };
      this.#last.set(camera, drift);
      onReading(drift);
    } catch (error) {
      this.#options.log.error({ camera, why: errorLine(error) }, "drift-not-told");
    }
  }

  /** Whether the frame seen last is one to learn this camera's drift from; asking takes the offer. */
  takeOffer(camera: string): boolean {
    return this.#watches.get(camera)?.takeOffer() ?? false;
  }

  /** What the camera shows from now on is what it should. */
  forget(camera: string): void {
    this.#watches.get(camera)?.forget();
  }
}
