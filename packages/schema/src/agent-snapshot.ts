/**
 * How a running agent stands, in one look: what `kenpin-agent status` shows and what /metrics is read from. Counts are since the agent
 * started, sizes in bytes. GET /v1/snapshot on the agent's page.
 */
import { z } from "zod";
import { AgentHealth } from "./agent-health.ts";
import { DriftFigureName, DriftState } from "./drift.ts";
import { Name, Probability, Sha256, Timestamp } from "./primitives.ts";
import { CameraStatus, InspectorStatus } from "./topics.ts";

const Count = z.int().min(0);

export const AgentSnapshot = z.strictObject({
  version: z.string(),
  bootId: z.uuid(),
  startedAt: Timestamp,
  running: z.strictObject({ bundle: Sha256, name: z.string(), release: z.int(), settings: Sha256, references: Count }),
  inspector: InspectorStatus,
  /** Inspectors that ended by themselves, or would not start again. */
  crashes: Count,
  broker: z.enum(["connected", "away"]),
  outbox: z.strictObject({ rows: Count, bytes: Count, shed: Count }),
  verdicts: z.strictObject({ pass: Count, fail: Count, unknown: Count, lastAt: Timestamp.nullable() }),
  disk: z.strictObject({
    /** Free on the disk and inside the database; null before it was looked at. */
    roomBytes: Count.nullable(),
    pictureBytes: Count,
    historyBytes: Count,
  }),
  cameras: z.array(CameraStatus),
  drift: z.array(
    z.strictObject({ camera: Name, state: DriftState, since: Timestamp, p: Probability.nullable(), most: DriftFigureName.nullable() }),
  ),
  health: AgentHealth,
  /** The last line that the agent logged as an error. */
  lastError: z.strictObject({ at: Timestamp, event: z.string(), why: z.string().nullable() }).nullable(),
});
export type AgentSnapshot = z.infer<typeof AgentSnapshot>;
