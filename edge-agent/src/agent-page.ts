/**
 * Joins the agent's page to the running agent: views for its start page, the wizard on an inspector of its own, the settings.
 * A page that cannot be served costs the line nothing: it is logged, and the agent goes on.
 */
import type { Link } from "@kenpin/messaging";
import { isLoopback, startEvents } from "@kenpin/page";
import { type AgentConfig, type AgentSnapshot, errorLine, type PageEvent, type PageState } from "@kenpin/schema";
import { fingerprintOf, type PrivateKey, publicKey } from "@kenpin/bundle";
import type { Logger } from "pino";
import type { Database } from "./database.ts";
import type { Launcher } from "./inspect/launcher.ts";
import type { Supervisor } from "./inspect/supervisor.ts";
import { readAudit } from "./operate/audit.ts";
import type { CameraOrders } from "./operate/camera-orders.ts";
import { type Door, signedIn } from "./operate/page-door.ts";
import { pageRoutes } from "./operate/page-routes.ts";
import { startPage } from "./operate/page-server.ts";
import type { Recent } from "./operate/recent.ts";
import type { SettingsStore } from "./operate/settings-store.ts";
import { Wizard } from "./operate/wizard/wizard.ts";
import { wizardRoutes } from "./operate/wizard/wizard-routes.ts";
import type { BundleStore } from "./update/bundle-store.ts";
import type { ReferenceStore } from "./update/reference-store.ts";
import { AGENT_VERSION } from "./version.ts";

export type PageParts = {
  config: AgentConfig;
  db: Database;
  store: BundleStore;
  references: ReferenceStore;
  supervisor: Supervisor;
  launcher: Launcher;
  settings: SettingsStore;
  deviceKey: PrivateKey;
  recent: Recent;
  orders: CameraOrders;
  link: Link;
  backlog: () => number;
  snapshot: () => AgentSnapshot;
  log: Logger;
};

/** A map is drawn again for the page: patient, but not for ever. */
const MAP_DEADLINE_MS = 10_000;

export async function serveAgentPage(parts: PageParts): Promise<{ close: () => Promise<void> } | null> {
  const { config, db, store, references, supervisor, recent, settings, log } = parts;
  const { page } = config;
  if (page === false) return null;
  const events = startEvents<Door, PageEvent>({ guard: signedIn(), pages: 20, queuedEvents: 256 });
  const wizard = makeWizard(parts, (state) => events.emit({ type: "setup", data: state }));
  recent.onVerdict((verdict) => events.emit({ type: "verdict", data: verdict }));
  settings.onChange(() => events.emit({ type: "changed", data: {} }));
  const views = {
    state: () => stateOf(parts, page),
    snapshot: parts.snapshot,
    running: () => supervisor.setup,
    ownDigest: async () => (await store.setup(supervisor.setup.bundle, references.located(settings.baseFrames), null)).settings,
    recent,
    settings,
    audit: () => readAudit(db),
    wizard,
    mapOf: async (bytes: Uint8Array) =>
      (await supervisor.inspect({ bytes, takenAt: performance.now(), deadlineMs: MAP_DEADLINE_MS, map: true })).map,
  };
  const routes = [events.routes, pageRoutes(views), wizardRoutes({ wizard, recent, folder: page.pictures ?? null })];
  try {
    const server = await startPage({ page, dataDir: config.dataDir, routes, log });
    return {
      close: async () => {
        events.stop();
        await server.close();
        await wizard.close();
      },
    };
  } catch (error) {
    events.stop();
    log.error({ why: errorLine(error) }, "page-not-served");
    return null;
  }
}

function makeWizard(
  { config, supervisor, launcher, settings, references, log }: PageParts,
  onChange: ConstructorParameters<typeof Wizard>[0]["onChange"],
): Wizard {
  return new Wizard({
    dataDir: config.dataDir,
    folder: (config.page === false ? undefined : config.page.pictures) ?? null,
    part: config.cameras[0]?.part ?? "part",
    running: () => supervisor.setup,
    chosen: (bundle) => settings.chosen(bundle),
    open: (setup) => launcher.start(setup, () => undefined),
    keepFrame: (sha256, bytes) => references.keep(sha256, bytes),
    save: (running, fresh) => settings.save(running, fresh),
    onChange,
    log,
  });
}

function stateOf(
  { config, supervisor, deviceKey, orders, link, backlog }: PageParts,
  page: Exclude<AgentConfig["page"], false>,
): Omit<PageState, "person" | "verdicts" | "fails"> {
  const { setup } = supervisor;
  return {
    site: config.site,
    line: config.line,
    agent: config.agent,
    version: AGENT_VERSION,
    cameras: config.cameras.map(({ name, part }) => ({ name, part: part ?? null, paused: orders.isPaused(name) })),
    running: {
      bundle: setup.bundle,
      name: setup.manifest.name,
      release: setup.manifest.release,
      settings: setup.settings,
      references: supervisor.references,
      inspecting: supervisor.isRunning,
      thresholds: setup.thresholds,
    },
    broker: link.connected ? "connected" : "away",
    backlog: backlog(),
    localSettings: config.localSettings,
    plainHttp: !isLoopback(page.host),
    fingerprint: fingerprintOf(publicKey(deviceKey)),
  };
}
