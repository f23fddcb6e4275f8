/** How the running agent stands, in one look, for `kenpin-agent status` and for /metrics. In: its parts. Out: a snapshot when asked. */
import type { Link } from "@kenpin/messaging";
import type { AgentHealth, AgentSnapshot } from "@kenpin/schema";
import type { Cameras } from "./cameras.ts";
import type { Supervisor } from "./inspect/supervisor.ts";
import type { Recent } from "./operate/recent.ts";
import type { VerdictHistory } from "./record/history.ts";
import type { Journal } from "./record/journal.ts";
import type { Outbox } from "./record/outbox.ts";
import type { Retention } from "./record/retention.ts";
import type { EvidenceStore } from "./samples/evidence-store.ts";
import { AGENT_VERSION } from "./version.ts";
import type { DriftMonitor } from "./watch/drift-monitor.ts";

export type SnapshotParts = {
  supervisor: Supervisor;
  journal: Journal;
  outbox: Outbox;
  history: VerdictHistory;
  evidence: EvidenceStore;
  retention: Retention;
  cameras: Cameras;
  drift: DriftMonitor;
  recent: Recent;
  link: Link;
  health: () => AgentHealth;
  crashes: () => number;
  lastError: () => AgentSnapshot["lastError"];
};

export function snapshots(parts: SnapshotParts): () => AgentSnapshot {
  const { supervisor, journal, outbox, history, evidence, retention, cameras, drift, recent, link, health, crashes, lastError } = parts;
  const startedAt = new Date().toISOString();
  const counts = { pass: 0, fail: 0, unknown: 0 };
  let lastAt: string | null = null;
  recent.onVerdict(({ outcome }) => {
    counts[outcome]++;
    lastAt = new Date().toISOString();
  });
  return () => {
    const { bundle, settings, manifest } = supervisor.setup;
    const { roomBytes } = retention.standing;
    return {
      version: AGENT_VERSION,
      bootId: journal.bootId,
      startedAt,
      running: { bundle, name: manifest.name, release: manifest.release, settings, references: supervisor.references },
      inspector: supervisor.status,
      crashes: crashes(),
      broker: link.connected ? "connected" : "away",
      outbox: { rows: outbox.count, bytes: outbox.bytes, shed: outbox.shedRows },
      verdicts: { ...counts, lastAt },
      disk: {
        roomBytes: Number.isFinite(roomBytes) ? roomBytes : null,
        pictureBytes: evidence.bytes(),
        historyBytes: history.bytes(),
      },
      cameras: cameras.status(),
      drift: drift.standing,
      health: health(),
      lastError: lastError(),
    };
  };
}
