/**
 * GET /metrics for Prometheus (text format 0.0.4), on loopback unless the configuration says otherwise, and only where it asks for it.
 * In: verdicts as they are recorded, and views on the running agent that are read when somebody asks. Out: a small server. It needs
 * no sign-in and says no more than counts, times and names of cameras. The line never waits for it.
 */
import { answerFaults, hostGuard, isLoopback, listen, securityHeaders } from "@kenpin/page";
import { type AgentConfig, type AgentSnapshot, type DriftState, errorLine, type Verdict } from "@kenpin/schema";
import { Hono } from "hono";
import type { Logger } from "pino";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export type MetricsOptions = {
  metrics: Exclude<AgentConfig["metrics"], false>;
  snapshot: () => AgentSnapshot;
  onVerdict: (listener: (verdict: Verdict) => void) => void;
  log: Logger;
};

const STAGES = ["decode", "preprocess", "infer", "decide", "total"] as const;
/** Seconds: a student on a GPU takes milliseconds, a large tower on a small computer seconds. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export async function serveMetrics(options: MetricsOptions): Promise<{ url: string; close: () => Promise<void> } | null> {
  const { metrics, log } = options;
  const registry = openRegistry(options);
  const app = new Hono();
  app.use(securityHeaders(), hostGuard(metrics.host, metrics.allowHosts, "name it in the configuration's metrics.allowHosts"));
  app.get("/metrics", async () => new Response(await registry.metrics(), { headers: { "content-type": registry.contentType } }));
  answerFaults(app, {
    status: {},
    otherwise: 500,
    unforeseen: "the agent failed at this; its log says more",
    onUnforeseen: (where, error) => log.error({ ...where, why: error.message }, "request-failed"),
  });
  try {
    const { url, close } = await listen(app, metrics);
    log.info({ url: `${url}/metrics` }, "metrics-served");
    if (!isLoopback(metrics.host)) log.warn({ url }, "metrics-open-to-the-network");
    return { url, close };
  } catch (error) {
    log.error({ host: metrics.host, port: metrics.port, why: errorLine(error) }, "metrics-not-served");
    return null;
  }
}

function openRegistry({ snapshot, onVerdict }: MetricsOptions): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  count(registry, onVerdict);
  for (const { name, help, labelNames = [], read } of READ_WHEN_ASKED) {
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      collect: () => {
        gauge.reset();
        for (const { value, labels = {} } of read(snapshot())) gauge.set(labels, value);
      },
    });
  }
  return registry;
}

/** What only ever grows is counted as it comes. */
function count(registry: Registry, onVerdict: MetricsOptions["onVerdict"]): void {
  const registers = [registry];
  const verdicts = new Counter({
    name: "kenpin_verdicts_total",
    help: "Verdicts recorded since the agent started, by outcome and, where it is unknown, by reason",
    labelNames: ["camera", "outcome", "reason"],
    registers,
  });
  const seconds = new Histogram({
    name: "kenpin_frame_seconds",
    help: "What a frame took, by stage; total is from taking it up to its recorded verdict",
    labelNames: ["camera", "stage"],
    buckets: BUCKETS,
    registers,
  });
  const late = new Counter({
    name: "kenpin_deadlines_missed_total",
    help: "Frames whose verdict came after their deadline",
    labelNames: ["camera"],
    registers,
  });
  onVerdict(({ camera, outcome, reason, ms, deadlineMissed }) => {
    verdicts.inc({ camera, outcome, reason: reason ?? "" });
    for (const stage of STAGES) seconds.observe({ camera, stage }, ms[stage] / 1000);
    if (deadlineMissed) late.inc({ camera });
  });
}

type Reading = { value: number; labels?: Record<string, string> };
type Read = { name: string; help: string; labelNames?: string[]; read: (snapshot: AgentSnapshot) => Reading[] };

const one = (value: number): Reading[] => [{ value }];

const READ_WHEN_ASKED: readonly Read[] = [
  {
    name: "kenpin_agent_info",
    help: "What decides; always 1",
    labelNames: ["version", "bundle", "settings", "provider", "runtime"],
    read: ({ version, running: { bundle, settings }, inspector: { provider, runtime } }) => [
      { value: 1, labels: { version, bundle, settings, provider, runtime } },
    ],
  },
  {
    name: "kenpin_inspector_running",
    help: "1 while an inspector looks at frames",
    read: ({ inspector }) => one(Number(inspector.state === "running")),
  },
  {
    name: "kenpin_inspector_crashes",
    help: "Inspectors that ended by themselves since the agent started",
    read: ({ crashes }) => one(crashes),
  },
  { name: "kenpin_broker_connected", help: "1 while the broker is connected", read: ({ broker }) => one(Number(broker === "connected")) },
  { name: "kenpin_outbox_rows", help: "Messages that the hub has not acknowledged", read: ({ outbox }) => one(outbox.rows) },
  { name: "kenpin_outbox_bytes", help: "Bytes of the messages that the hub has not acknowledged", read: ({ outbox }) => one(outbox.bytes) },
  {
    name: "kenpin_outbox_shed",
    help: "Messages shed by a full outbox or disk since the agent started",
    read: ({ outbox }) => one(outbox.shed),
  },
  {
    name: "kenpin_frames",
    help: "What became of the frames that cameras offered since the agent started; waiting ones wait now",
    labelNames: ["camera", "fate"],
    read: ({ cameras }) =>
      cameras.flatMap(({ name: camera, frames }) => Object.entries(frames).map(([fate, value]) => ({ value, labels: { camera, fate } }))),
  },
  {
    name: "kenpin_camera_running",
    help: "1 while a camera gives pictures in time, 0 while it is stale or paused",
    labelNames: ["camera"],
    read: ({ cameras }) => cameras.map(({ name: camera, state }) => ({ value: Number(state === "running"), labels: { camera } })),
  },
  {
    name: "kenpin_drift",
    help: "0 gathering a reference, 1 steady, 2 drifting",
    labelNames: ["camera"],
    read: ({ drift }) => drift.map(({ camera, state }) => ({ value: DRIFT_VALUE[state], labels: { camera } })),
  },
  {
    name: "kenpin_drift_p",
    help: "p of the last window's kernel two-sample test against the reference",
    labelNames: ["camera"],
    read: ({ drift }) => drift.flatMap(({ camera, p }) => (p === null ? [] : [{ value: p, labels: { camera } }])),
  },
  {
    name: "kenpin_disk_room_bytes",
    help: "Bytes the agent may still write: free on the disk and inside its database",
    read: ({ disk: { roomBytes } }) => (roomBytes === null ? [] : one(roomBytes)),
  },
  { name: "kenpin_disk_short", help: "1 while the disk has less room than it should", read: ({ health }) => one(Number(health.diskShort)) },
  { name: "kenpin_pictures_bytes", help: "Bytes of pictures that are kept for the hub", read: ({ disk }) => one(disk.pictureBytes) },
  { name: "kenpin_history_bytes", help: "Bytes of acknowledged verdicts that are kept here", read: ({ disk }) => one(disk.historyBytes) },
  {
    name: "kenpin_database_quarantined",
    help: "1 while a damaged database lies beside the new one",
    read: ({ health }) => one(Number(health.quarantine !== null)),
  },
];

const DRIFT_VALUE: Record<DriftState, number> = { gathering: 0, steady: 1, drifting: 2 };
