/**
 * Joins the line's stations to cameras and pipeline: triggers go to the cameras, decisions to the station they belong to, and the
 * inspector's replies to its pulse. While no frame comes, the inspector is asked for a sign of life: an empty frame, which a worker that
 * lives refuses at once. In: the configuration and the cameras. Out: what the pipeline tells each frame to.
 */
import { type AgentConfig, KenpinError, type StationConfig } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Cameras } from "./cameras.ts";
import type { VerdictDraft } from "./decide/verdict-draft.ts";
import type { Frame } from "./frame.ts";
import type { Seen, Supervisor } from "./inspect/supervisor.ts";
import { ModbusLine } from "./line/modbus-line.ts";
import { Pulse } from "./line/pulse.ts";
import { Station } from "./line/station.ts";

export type StationsOptions = {
  config: AgentConfig;
  cameras: Cameras;
  supervisor: Pick<Supervisor, "inspect">;
  log: Logger;
};
type Kept = { station: Station; pulse: Pulse; plc: ModbusLine | null };

const ASK_EVERY_MS = 200;

export class Stations {
  readonly all: Kept[];
  #options: StationsOptions;
  #byCamera = new Map<string, Station>();
  /** The last frame of each camera; one that is tried again, because its verdict could not be kept, is told once. */
  #told = new Map<string, string>();
  #repliedAt = Number.NEGATIVE_INFINITY;
  #asking: NodeJS.Timeout | null = null;
  #isAsking = false;

  constructor(options: StationsOptions) {
    this.#options = options;
    this.all = options.config.stations.map((station) => this.#open(station));
  }

  start(): void {
    if (this.all.length === 0) return;
    this.#asking = setInterval(() => void this.#askInspector(), ASK_EVERY_MS);
    for (const { plc } of this.all) plc?.start();
  }

  async stop(): Promise<void> {
    if (this.#asking) clearInterval(this.#asking);
    for (const { station } of this.all) station.stop();
    await Promise.all(this.all.map(({ plc }) => plc?.stop()));
  }

  /** Asks the station that the camera stands at, or the camera alone. */
  trigger(camera: string, id: string): void {
    const now = performance.now();
    const trigger = { id, at: now, since: now };
    const station = this.#byCamera.get(camera);
    if (station) void station.trigger(trigger);
    else if (!this.#options.cameras.sources.get(camera)?.ask(trigger)) {
      throw new KenpinError(
        "camera-not-asked",
        `"${camera}" cannot be asked for a frame: its frames name their parts themselves, or it is none here`,
      );
    }
  }

  /** What came back of a frame is a sign of life, if it came from the inspector. */
  seen({ inspection, failure }: Seen): void {
    if (inspection || failure === "frame-unreadable") this.#repliedAt = performance.now();
  }

  isLate({ camera, triggerId }: Frame): boolean {
    return this.#byCamera.get(camera.name)?.isLate(camera.name, triggerId) === true;
  }

  /** Resolves once the line has the answer that this frame completes, if any. */
  async take(frame: Frame, { outcome, reason }: VerdictDraft): Promise<void> {
    const { camera, triggerId, takenAt, modifiedNs } = frame;
    const delivery = `${triggerId} ${modifiedNs}`;
    if (!hasName(frame) || this.#told.get(camera.name) === delivery) return;
    this.#told.set(camera.name, delivery);
    await this.#byCamera.get(camera.name)?.take(camera.name, triggerId, takenAt, { outcome, ...(reason && { reason }) });
  }

  #open({ name, cameras: names, aliveMs, modbus }: StationConfig): Kept {
    const { config, cameras, log } = this.#options;
    const own = config.cameras.filter((camera) => names.includes(camera.name));
    const look = () =>
      own.map((camera) => {
        const source = cameras.sources.get(camera.name);
        const isFresh = source?.isFresh() === true;
        return { name: camera.name, pictureAt: source?.pictureAt() ?? null, isFresh, isPaused: cameras.isPaused(camera.name) };
      });
    const pulse = new Pulse({ repliedAt: () => this.#repliedAt, cameras: look, aliveMs, now: () => performance.now() });
    let plc: ModbusLine | null = null;
    const station = new Station({
      name,
      cameras: own,
      ask: (camera, trigger) => cameras.sources.get(camera)?.ask(trigger),
      output: async (answer) => plc?.answer(answer),
      log,
    });
    const { deadlineMs } = station;
    const onTrigger = (trigger: Parameters<Station["trigger"]>[0]) => void station.trigger(trigger);
    if (modbus) plc = new ModbusLine({ config: modbus, station: name, deadlineMs, pulse, onTrigger, log });
    for (const camera of own) this.#byCamera.set(camera.name, station);
    return { station, pulse, plc };
  }

  async #askInspector(): Promise<void> {
    const now = performance.now();
    if (this.#isAsking || now - this.#repliedAt < ASK_EVERY_MS) return;
    this.#isAsking = true;
    const deadlineMs = Math.min(...this.#options.config.stations.map(({ aliveMs }) => aliveMs));
    try {
      this.seen(await this.#options.supervisor.inspect({ bytes: new Uint8Array(), takenAt: now, deadlineMs }));
    } finally {
      this.#isAsking = false;
    }
  }
}

/** Names that a live camera makes up itself belong to no part of the line's. */
function hasName({ isAsked, camera }: Frame): boolean {
  return isAsked || camera.source.kind === "push";
}
