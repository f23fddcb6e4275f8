/**
 * An agent's month with a fast clock: the real pipeline, database, outbox, history, drift, samples, evidence and retention, and a real
 * inspector on the small test bundle. What is played is the clock (Date and performance.now), the camera, and the hub, which takes what
 * the outbox gives and acknowledges it. Every day the agent is started anew; the clock once begins in 1970; the hub is away for days;
 * the lamp dims near the end. In: how many days and how often a frame comes. Out: figures.
 */
import { mock } from "node:test";
import { createHash, randomUUID } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { startInspector } from "@kenpin/inspector";
import { AgentConfig, type Drift, type Sample, Verdict } from "@kenpin/schema";
import { createRandom, type Random } from "@kenpin/stats";
import { pino } from "pino";
import sharp from "sharp";
import { Cameras } from "../../edge-agent/src/cameras.ts";
import { type Database, databaseFile } from "../../edge-agent/src/database.ts";
import type { Frame } from "../../edge-agent/src/frame.ts";
import type { Supervisor } from "../../edge-agent/src/inspect/supervisor.ts";
import { keepRoom } from "../../edge-agent/src/keep-room.ts";
import { Recent } from "../../edge-agent/src/operate/recent.ts";
import { answerFrame, type Stages } from "../../edge-agent/src/pipeline.ts";
import { VerdictHistory } from "../../edge-agent/src/record/history.ts";
import { Journal } from "../../edge-agent/src/record/journal.ts";
import { Outbox } from "../../edge-agent/src/record/outbox.ts";
import type { Retention } from "../../edge-agent/src/record/retention.ts";
import { EvidenceStore } from "../../edge-agent/src/samples/evidence-store.ts";
import { SamplePicker } from "../../edge-agent/src/samples/picker.ts";
import { Sampler } from "../../edge-agent/src/samples/sampler.ts";
import type { Setup } from "../../edge-agent/src/setup.ts";
import { openSoundDatabase } from "../../edge-agent/src/sound-database.ts";
import { Stations } from "../../edge-agent/src/stations.ts";
import { ReferenceStore } from "../../edge-agent/src/update/reference-store.ts";
import { CameraWatch } from "../../edge-agent/src/watch/camera-watch.ts";
import { DriftMonitor } from "../../edge-agent/src/watch/drift-monitor.ts";
import { testBundle } from "./test-bundle.ts";
import { unpackedTestBundle } from "./unpacked-bundle.ts";

export type MonthOptions = {
  folder: string;
  days: number;
  everyMs: number;
  /** Days, from 0, on which the hub does not answer. */
  hubAway: readonly number[];
  /** The day whose first frames come before the clock is set. */
  clockLostOn: number;
  lampDimsOn: number;
  onDay?: (day: number) => void;
};
export type MonthFigures = {
  frames: number;
  /** What the hub got, by boot: the seqs in the order they came. */
  boots: Map<string, number[]>;
  verdicts: number;
  samples: Record<string, number>;
  mostSamplesADay: number;
  mostBacklog: number;
  backlogAtEnd: number;
  mostDatabaseBytes: number;
  mostPictureBytes: number;
  picturesLeft: number;
  oldestHistoryDays: number;
  drift: { day: number; state: Drift["state"]; p: number | null; moved: string[]; referenceAt: string | null }[];
  secondsTaken: number;
};

const START = Date.UTC(2026, 3, 1);
const DAY_MS = 86_400_000;
const FRAME_PX = 48;
const log = pino({ level: "silent" });

export async function liveThroughMonth(options: MonthOptions): Promise<MonthFigures> {
  const began = process.hrtime.bigint();
  const clock = new FastClock();
  const { file, digest, manifest } = await testBundle();
  const bundleDir = await unpackedTestBundle(join(options.folder, "bundle"));
  const inspector = await startInspector({ bundleDir, threads: 1 });
  const thresholds = { pass: 0.4, fail: 0.6, cut: 0.5, chosenBy: "a test" };
  const setup: Setup = {
    bundle: digest,
    folder: bundleDir,
    wordsFolder: bundleDir,
    manifest,
    thresholds,
    settings: digest,
    references: [],
  };
  const config = AgentConfig.parse({
    site: "test",
    line: "line-1",
    agent: "edge-1",
    dataDir: join(options.folder, "data"),
    broker: { url: "mqtt://127.0.0.1:1" },
    hub: { url: "http://127.0.0.1:1", token: "a-token-of-the-test-agent" },
    rootKey: "A".repeat(43),
    bundle: file,
    cameras: [{ name: "line", source: { kind: "push" }, evidence: "frame", deadlineMs: 20_000 }],
    sampling: { randomRatio: 0.2, perDay: 40 },
    record: { verdictDays: 7, pictureDays: 3, keepFreeMb: 0 },
  });
  const inspect: Supervisor["inspect"] = async ({ bytes, map = false }) => {
    const answer = await inspector.inspect(bytes, { map });
    return { setup, provider: inspector.provider, ...answer, failure: null };
  };
  // The supervisor's own restarts are tested beside it; here it is as much of it as the pipeline asks.
  const supervisor = { setup, inspect } as unknown as Supervisor;
  const month = new Month(options, config, supervisor, clock);
  try {
    for (let day = 0; day < options.days; day++) {
      await month.live(day);
      options.onDay?.(day);
    }
    return { ...month.figures, secondsTaken: Number(process.hrtime.bigint() - began) / 1e9 };
  } finally {
    clock.restore();
    await inspector.close();
  }
}

/** `at` counts on whatever the wall says, as a monotonic clock does. */
class FastClock {
  #now = performance.now.bind(performance);
  #at = 0;

  constructor() {
    mock.timers.enable({ apis: ["Date"], now: START });
    performance.now = () => this.#at;
  }

  set(at: number, wall: number): void {
    this.#at = at;
    mock.timers.setTime(wall);
  }

  restore(): void {
    performance.now = this.#now;
    mock.timers.reset();
  }
}

type Running = { db: Database; outbox: Outbox; evidence: EvidenceStore; retention: Retention; stages: Stages };

class Month {
  readonly figures: Omit<MonthFigures, "secondsTaken"> = {
    frames: 0,
    boots: new Map(),
    verdicts: 0,
    samples: {},
    mostSamplesADay: 0,
    mostBacklog: 0,
    backlogAtEnd: 0,
    mostDatabaseBytes: 0,
    mostPictureBytes: 0,
    picturesLeft: 0,
    oldestHistoryDays: 0,
    drift: [],
  };
  #options: MonthOptions;
  #config: AgentConfig;
  #supervisor: Supervisor;
  #clock: FastClock;
  #random = createRandom(31);

  constructor(options: MonthOptions, config: AgentConfig, supervisor: Supervisor, clock: FastClock) {
    this.#options = options;
    this.#config = config;
    this.#supervisor = supervisor;
    this.#clock = clock;
  }

  /** One boot: a start, a day's frames, an end. */
  async live(day: number): Promise<void> {
    const { everyMs, hubAway, clockLostOn, lampDimsOn } = this.#options;
    const frames = Math.floor(DAY_MS / everyMs);
    const wallOf = (i: number) => (day === clockLostOn && i < frames / 8 ? i * everyMs : START + day * DAY_MS + i * everyMs);
    this.#clock.set(day * DAY_MS, wallOf(0));
    const agent = this.#start(day);
    const samplesBefore = this.#samples();
    for (let i = 0; i < frames; i++) {
      this.#clock.set(day * DAY_MS + i * everyMs, wallOf(i));
      await answerFrame(agent.stages, await this.#frame(day >= lampDimsOn ? -14 : 0));
      this.figures.frames++;
      this.figures.mostBacklog = Math.max(this.figures.mostBacklog, agent.outbox.count);
      if (i % Math.ceil(frames / 24) !== 0) continue; // once an hour
      if (!hubAway.includes(day)) await this.#hubTakes(agent);
      await agent.retention.tidy();
      this.#measure(agent);
    }
    if (!hubAway.includes(day)) await this.#hubTakes(agent);
    await agent.retention.tidy();
    this.#measure(agent);
    this.figures.mostSamplesADay = Math.max(this.figures.mostSamplesADay, this.#samples() - samplesBefore);
    agent.db.close();
  }

  #start(day: number): Running {
    const config = this.#config;
    const { db, quarantine } = openSoundDatabase(databaseFile(config.dataDir));
    if (quarantine) throw new Error(`the database was damaged: ${quarantine.why}`);
    const { verdictDays: days, verdictMb } = config.record;
    const history = new VerdictHistory(db, { days, bytes: verdictMb * 1024 ** 2 });
    const outbox = new Outbox(db, log, { archive: history });
    const journal = new Journal(db, outbox);
    const evidence = new EvidenceStore(db, config.dataDir);
    const retention = keepRoom({ config, db, evidence, history, outbox, log });
    const cameras = new Cameras();
    const onReading = ({ state, test, figures, referenceAt }: Drift) =>
      void this.figures.drift.push({ day, state, p: test?.p ?? null, moved: figures.slice(0, 3).map(({ name }) => name), referenceAt });
    const wake = { wake: () => undefined };
    const picker = new SamplePicker(config.sampling, createRandom(100 + day));
    const stages: Stages = {
      config,
      supervisor: this.#supervisor,
      watches: new Map([["line", new CameraWatch()]]),
      stations: new Stations({ config, cameras, supervisor: this.#supervisor, log }),
      drift: new DriftMonitor({ config, db, bootId: journal.bootId, onReading, log }),
      journal,
      reporter: wake as unknown as Stages["reporter"],
      references: new ReferenceStore(db, config.dataDir),
      onReference: () => undefined,
      sampler: new Sampler({ config, picker, store: evidence, mayKeep: () => !retention.standing.isShort, log }),
      uploader: wake as unknown as Stages["uploader"],
      recent: new Recent(),
    };
    return { db, outbox, evidence, retention, stages };
  }

  /** The hub takes messages and pictures, and acknowledges what it has. */
  async #hubTakes({ outbox, evidence }: Running): Promise<void> {
    for (let rows = outbox.after(0, 500); rows.length > 0; rows = outbox.after(0, 500)) {
      const reached = new Map<string, number>();
      for (const { kind, payload } of rows) {
        const message = JSON.parse(payload) as Verdict | Sample;
        if (kind === "verdict") Verdict.parse(message);
        this.#count(kind, message);
        reached.set(message.bootId, message.seq);
      }
      outbox.acknowledge({ schemaVersion: 1, boots: [...reached].map(([bootId, seq]) => ({ bootId, seq })) });
    }
    for (const picture of evidence.pending(10_000)) {
      await evidence.read(picture);
      evidence.uploaded(picture);
    }
    await evidence.sweep();
  }

  #count(kind: "verdict" | "sample", message: Verdict | Sample): void {
    const { boots, samples } = this.figures;
    boots.set(message.bootId, [...(boots.get(message.bootId) ?? []), message.seq]);
    if (kind === "verdict") this.figures.verdicts++;
    else if ("verdictId" in message) samples[message.reason] = (samples[message.reason] ?? 0) + 1;
  }

  #samples(): number {
    return Object.values(this.figures.samples).reduce((sum, count) => sum + count, 0);
  }

  #measure({ db, outbox, evidence }: Running): void {
    const { figures } = this;
    const folder = this.#config.dataDir;
    const database = readdirSync(folder).filter((name) => name.startsWith("agent.db"));
    const bytes = database.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    const oldest = db.prepare("SELECT min(acknowledged_at) FROM verdicts WHERE acknowledged_at >= ?").pluck().get(START) as number | null;
    figures.mostDatabaseBytes = Math.max(figures.mostDatabaseBytes, bytes);
    figures.mostPictureBytes = Math.max(figures.mostPictureBytes, evidence.bytes());
    figures.picturesLeft = readdirSync(join(folder, "evidence"), { withFileTypes: true }).length;
    figures.backlogAtEnd = outbox.count;
    if (oldest !== null && Date.now() > START)
      figures.oldestHistoryDays = Math.max(figures.oldestHistoryDays, (Date.now() - oldest) / DAY_MS);
  }

  async #frame(dimmer: number): Promise<Frame> {
    const bytes = await draw(this.#random, dimmer);
    return {
      camera: this.#config.cameras[0] as Frame["camera"],
      file: null,
      triggerId: randomUUID(),
      isAsked: false,
      sha256: createHash("sha256").update(bytes).digest("hex"),
      bytes,
      unseen: "frame-unreadable",
      modifiedNs: String(this.figures.frames),
      inode: "",
      capturedAt: new Date(),
      takenAt: performance.now(),
    };
  }
}

/** Stripes with noise under a light that varies a little. */
async function draw(random: Random, dimmer: number): Promise<Uint8Array> {
  const pixels = Buffer.alloc(FRAME_PX * FRAME_PX * 3);
  const [phase, light] = [random.next() * 6, 2 * random.normal() + dimmer];
  for (let i = 0; i < pixels.length; i++) {
    const x = Math.floor(i / 3) % FRAME_PX;
    pixels[i] = 120 + light + 60 * Math.sin(x / 2 + phase) + random.between(-40, 40);
  }
  const raw = { width: FRAME_PX, height: FRAME_PX, channels: 3 as const };
  return new Uint8Array(await sharp(pixels, { raw }).jpeg({ quality: 90 }).toBuffer());
}
