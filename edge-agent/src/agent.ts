/**
 * Starts an edge agent from its configuration, and stops it: opens the data folder, brings the inspector up on the installed
 * bundle, connects to broker and hub, then lets the cameras in. What is started last is stopped first.
 * Broker and hub may be away at any time, also at the start; only the bundle must be there.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Link } from "@kenpin/messaging";
import {
  type AgentConfig,
  type AgentHealth,
  type AgentSnapshot,
  agentTopics,
  type Building,
  type BundleReported,
  errorLine,
  type Verdict,
} from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import type { Logger } from "pino";
import { serveAgentPage } from "./agent-page.ts";
import { snapshots } from "./agent-snapshot.ts";
import { askedInspections } from "./asked-inspections.ts";
import { Cameras } from "./cameras.ts";
import { frameRoutes } from "./capture/frame-routes.ts";
import { type Database, databaseFile, lockDataDir } from "./database.ts";
import { Launcher } from "./inspect/launcher.ts";
import { type Candidate, Supervisor, type SupervisorOptions } from "./inspect/supervisor.ts";
import { keepRoom } from "./keep-room.ts";
import { stationRoutes } from "./line/station-routes.ts";
import { CameraOrders } from "./operate/camera-orders.ts";
import { Commands } from "./operate/commands.ts";
import { deviceKey } from "./operate/device-key.ts";
import { serveMetrics } from "./operate/metrics.ts";
import { openLineDoor } from "./operate/line-door.ts";
import { Recent } from "./operate/recent.ts";
import { SettingsStore } from "./operate/settings-store.ts";
import { answerFrame, type Stages } from "./pipeline.ts";
import { VerdictHistory } from "./record/history.ts";
import { Journal } from "./record/journal.ts";
import { Outbox } from "./record/outbox.ts";
import type { Retention } from "./record/retention.ts";
import type { StatusBeat } from "./report/status.ts";
import { startReporting } from "./reporting.ts";
import { EvidenceStore } from "./samples/evidence-store.ts";
import { SamplePicker } from "./samples/picker.ts";
import { Sampler } from "./samples/sampler.ts";
import { Uploader } from "./samples/uploader.ts";
import type { Setup } from "./setup.ts";
import { openSoundDatabase, readQuarantine } from "./sound-database.ts";
import { Stations } from "./stations.ts";
import { BankStore } from "./update/bank-store.ts";
import { BundleStore } from "./update/bundle-store.ts";
import { type FirstSetup, firstSetup } from "./update/first-setup.ts";
import { ReferenceStore } from "./update/reference-store.ts";
import { Updater } from "./update/updater.ts";
import { CameraWatch } from "./watch/camera-watch.ts";
import { DriftMonitor } from "./watch/drift-monitor.ts";
import { sweepWords } from "./words-folder.ts";

/** `started` settles with the first inspector: an engine for it may take minutes; it fails where there is nothing to decide by. */
export type Agent = { started: Promise<void>; stop: () => Promise<void> };
type Closers = (() => unknown)[];
type LastError = () => AgentSnapshot["lastError"];
type Base = { config: AgentConfig; db: Database; log: Logger; closers: Closers; lastError: LastError };

/** An inspector that takes longer to start must not keep broker, status and cameras waiting. */
const PATIENCE_MS = 5000;

export async function startAgent(config: AgentConfig, log: Logger, lastError: LastError = () => null): Promise<Agent> {
  const closers: Closers = [];
  const stop = async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  };
  try {
    const lock = lockDataDir(config.dataDir);
    closers.push(() => lock.release());
    const { db, quarantine } = openSoundDatabase(databaseFile(config.dataDir));
    closers.push(() => db.close());
    if (quarantine) log.error(quarantine, "database-quarantined");
    const { started } = await assemble({ config, db, log, closers, lastError });
    return { started, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function assemble(base: Base): Promise<Pick<Agent, "started">> {
  const { config, db, log } = base;
  const references = new ReferenceStore(db, config.dataDir);
  const key = await deviceKey(config.dataDir);
  const banks = new BankStore(config.dataDir);
  const settings = new SettingsStore({
    db,
    config,
    key,
    references,
    rootNamed: (at) => store.keys(at),
    keepBank: (bundle, bank) => banks.write(bundle, bank),
    now: () => store.now(),
    log: log.child({ stage: "operate" }),
  });
  const chosen = (bundle: string) => settings.chosen(bundle);
  const store: BundleStore = new BundleStore({ db, dataDir: config.dataDir, rootKey: config.rootKey, references, chosen });
  await settings.settle(store.current);
  await Promise.all([references.sweep(), store.sweep(), banks.sweep([store.current, store.fallback])]);
  let updater: Updater<Candidate> | null = null;
  let status: StatusBeat | null = null;
  let crashes = 0;
  const { supervisor, launcher, broken, started } = await startInspecting(base, {
    store,
    banks,
    onCrash: (setup) => {
      crashes++;
      updater?.onCrash(setup);
    },
    onStatus: () => status?.consider(),
    onBuilding: ({ bundle }, building) => updater?.reportBuilding(bundle, building),
  });
  await sweepWords(config.dataDir, supervisor.setup.wordsFolder);
  const { verdictDays: days, verdictMb } = config.record;
  const history = new VerdictHistory(db, { days, bytes: verdictMb * 1024 ** 2 });
  const outbox = new Outbox(db, log.child({ stage: "record" }), { archive: history });
  const journal = new Journal(db, outbox);
  journal.sweep(config.cameras);
  const evidence = new EvidenceStore(db, config.dataDir);
  const retention = keepRoom({ config, db, evidence, history, outbox, log: log.child({ stage: "record" }) });
  const { sampler, uploader } = await startSamples(base, { bootId: journal.bootId, store: evidence, retention });
  const drift = new DriftMonitor({
    config,
    db,
    bootId: journal.bootId,
    onReading: (reading) => {
      void reporter.retain(topics.drift(reading.camera), reading);
      status?.consider();
    },
    log: log.child({ stage: "watch" }),
  });
  const quarantine = quarantineOf(db, config.dataDir);
  const health = () => ({ drifting: drift.drifting, diskShort: retention.standing.isShort, quarantine });
  const cameras = new Cameras();
  const reporting = startReporting({ ...base, journal, outbox, supervisor, health, cameras, onFreed: () => uploader.wake() });
  const { link, reporter, topics } = reporting;
  status = reporting.status;
  const report = (reported: BundleReported) => void reporter.retain(topics.bundleReported, reported);
  updater = startUpdating(base, { store, references, supervisor, report, link, broken, started });
  const watches = new Map(config.cameras.map(({ name }) => [name, new CameraWatch()]));
  const onReference = () => updater?.teach();
  settings.connect((change) => (updater as Updater<Candidate>).apply(change));
  const recent = new Recent();
  const stations = new Stations({ config, cameras, supervisor, log: log.child({ stage: "line" }) });
  const stages: Stages = {
    config,
    supervisor,
    watches,
    stations,
    drift,
    journal,
    reporter,
    references,
    onReference,
    sampler,
    uploader,
    recent,
  };
  const orders = startCameras(base, stages, { store, link, topics, cameras, onChange: () => status?.consider() });
  stations.start();
  base.closers.push(() => stations.stop());
  const shown = { config, db, store, references, supervisor, launcher, settings, deviceKey: key, recent, orders, link };
  const seen = { supervisor, journal, outbox, history, evidence, retention, cameras, drift, recent, link, health };
  const snapshot = snapshots({ ...seen, crashes: () => crashes, lastError: base.lastError });
  const operating = log.child({ stage: "operate" });
  if (config.metrics) {
    const onVerdict = (listener: (verdict: Verdict) => void) => recent.onVerdict(listener);
    const metrics = await serveMetrics({ metrics: config.metrics, snapshot, onVerdict, log: operating });
    base.closers.push(() => metrics?.close());
  }
  const page = await serveAgentPage({ ...shown, backlog: () => outbox.count, snapshot, log: operating });
  base.closers.push(() => page?.close());
  if (config.lineDoor) {
    const asked = askedInspections(config, stages);
    base.closers.push(asked.close);
    const lineDoor = await openLineDoor(
      config.lineDoor,
      [frameRoutes(cameras.sources), stationRoutes(stations.all), ...asked.routes],
      log.child({ stage: "operate" }),
    );
    base.closers.push(() => lineDoor?.close());
  }
  return { started };
}

type InspectingParts = Pick<SupervisorOptions, "banks" | "onCrash" | "onStatus"> & {
  store: BundleStore;
  onBuilding: (setup: Setup, building: Building) => void;
};
type Inspecting = Pick<FirstSetup, "broken"> & Pick<Agent, "started"> & { supervisor: Supervisor; launcher: Launcher };

/** The inspector on the bundle that ran last, or on the first one; a first one that does not prove itself is an error. */
async function startInspecting(base: Base, { store, onBuilding, ...parts }: InspectingParts): Promise<Inspecting> {
  const { config, closers } = base;
  const log = base.log.child({ stage: "inspect" });
  const { setup, isFirst, broken } = await firstSetup(store, config.bundle);
  if (broken) log.error({ bundle: broken.digest, to: setup.bundle, why: broken.reason }, "bundle-rolled-back");
  const launcher = new Launcher(config, log);
  const { runtime } = config.inspector;
  const supervisor = new Supervisor(setup, { ...parts, runtime, launch: (...asked) => launcher.start(...asked), log });
  closers.push(() => supervisor.close());
  const bringUp = async () => {
    try {
      const candidate = await supervisor.prepare(setup, (building) => onBuilding(setup, building));
      if (isFirst) store.adopt(candidate.setup);
      supervisor.adopt(candidate);
    } catch (error) {
      if (isFirst) {
        await store.forget(setup.bundle);
        throw error;
      }
      log.error({ bundle: setup.bundle, why: errorLine(error) }, "inspector-not-started");
      void supervisor.recover();
    }
  };
  const started = bringUp();
  started.catch(() => undefined); // whoever asks for it is told
  await Promise.race([started, sleep(PATIENCE_MS, undefined, { ref: false })]);
  return { supervisor, launcher, broken, started };
}

type SampleParts = { bootId: string; store: EvidenceStore; retention: Retention };

async function startSamples({ config, log, closers }: Base, { bootId, store, retention }: SampleParts) {
  const dropped = store.dropForbidden(config.cameras);
  if (dropped > 0) log.warn({ pictures: dropped }, "evidence-no-longer-allowed");
  await store.sweepOrphans();
  // A seed of its own each boot: an agent that restarts often must not draw the same frames every time.
  const picker = new SamplePicker(config.sampling, createRandom(Number.parseInt(bootId.slice(0, 8), 16)));
  const stage = log.child({ stage: "samples" });
  const uploader = new Uploader({ store, hub: config.hub, log: stage });
  uploader.start();
  closers.push(() => uploader.stop());
  retention.start();
  closers.push(() => retention.stop());
  const mayKeep = () => !retention.standing.isShort;
  return { sampler: new Sampler({ config, picker, store, mayKeep, log: stage }), uploader };
}

function quarantineOf(db: Database, dataDir: string): AgentHealth["quarantine"] {
  const found = readQuarantine(db, dataDir);
  if (!found) return null;
  const { file, at, why, saved } = found;
  return { file, at, why: why.slice(0, 500), rows: Object.values(saved).reduce((sum, rows) => sum + rows, 0) };
}

type Updating = {
  store: BundleStore;
  references: ReferenceStore;
  supervisor: Supervisor;
  report: (reported: BundleReported) => void;
  link: Link;
  broken: FirstSetup["broken"];
  started: Promise<void>;
};

function startUpdating({ config, log, closers }: Base, updating: Updating): Updater<Candidate> {
  const { store, references, supervisor, report, link, broken, started } = updating;
  const { dataDir, hub } = config;
  const options = { store, references, inspectors: supervisor, dataDir, hub, report, started };
  const updater = new Updater<Candidate>({ ...options, log: log.child({ stage: "update" }) });
  closers.push(() => updater.stop());
  if (broken) updater.reportRolledBack(broken);
  else updater.reportRunning();
  if (!supervisor.isRunning) {
    void started.then(
      () => updater.reportRunning(),
      () => undefined,
    );
  }
  updater.teach(); // a set that was complete when the agent ended
  const { bundleDesired } = agentTopics(config.site, config.agent);
  link.subscribe(bundleDesired, (_topic, payload) => updater.desire(payload));
  return updater;
}

type Operating = { store: BundleStore; link: Link; topics: ReturnType<typeof agentTopics>; cameras: Cameras; onChange: () => void };

function startCameras({ config, db, log, closers }: Base, stages: Stages, operating: Operating): CameraOrders {
  const { store, link, topics, cameras, onChange } = operating;
  const orders = new CameraOrders({
    db,
    cameras: config.cameras,
    beginTeaching: (camera, count) => stages.references.begin(camera, count),
    onResume: (camera) => {
      stages.watches.get(camera)?.forget();
      stages.drift.forget(camera);
      cameras.sources.get(camera)?.wake();
    },
  });
  const commands = new Commands({
    db,
    site: config.site,
    agent: config.agent,
    keys: () => store.keys(),
    now: () => store.now(),
    act: (command) => (command.name === "trigger" ? stages.stations.trigger(command.camera, command.trigger) : orders.act(command)),
    reply: (reply) => void link.publish(topics.reply(reply.correlationId), reply).catch(() => undefined), // the hub asks again
    log: log.child({ stage: "operate" }),
  });
  closers.push(() => commands.settled());
  link.subscribe(topics.commands, (topic, payload) => commands.take(topic.split("/").at(-1) ?? "", payload));
  cameras.start(config.cameras, {
    onFrame: (frame) => answerFrame(stages, frame),
    onRemoved: (frame) => stages.journal.fileRemoved(frame),
    onChange,
    isPaused: (camera) => orders.isPaused(camera),
    random: Math.random,
    log: log.child({ stage: "capture" }),
  });
  closers.push(() => cameras.stop());
  return orders;
}
