/**
 * Every MQTT topic, in one table: kenpin/v1/<site>/<agent>/… An agent writes only the first group and reads only the
 * second, which is the broker's access list as it stands. Images never travel here.
 */
import { z } from "zod";
import { AgentHealth } from "./agent-health.ts";
import { Milliseconds, Name, Sha256, Timestamp } from "./primitives.ts";

export const TOPIC_ROOT = "kenpin/v1";

export function agentTopics(site: string, agent: string) {
  const base = `${TOPIC_ROOT}/${Name.parse(site)}/${Name.parse(agent)}`;
  return {
    // written by the agent
    status: `${base}/status`, // retained, and the will message
    verdict: (camera: string) => `${base}/verdict/${camera}`,
    sample: (camera: string) => `${base}/sample/${camera}`,
    drift: (camera: string) => `${base}/drift/${camera}`, // retained
    bundleReported: `${base}/bundle/reported`, // retained
    reply: (id: string) => `${base}/reply/${id}`,
    // written by the hub
    bundleDesired: `${base}/bundle/desired`, // retained
    command: (name: string) => `${base}/cmd/${name}`,
    commands: `${base}/cmd/+`,
    ack: `${base}/ack`, // retained
  };
}

/** What the hub subscribes to, for one site or for all ("+"). */
export function hubFilters(site = "+"): string[] {
  return ["status", "verdict/+", "sample/+", "drift/+", "bundle/reported", "reply/+"].map((end) => `${TOPIC_ROOT}/${site}/+/${end}`);
}

/** Splits a topic an agent wrote; null for anything that is not ours. */
export function parseTopic(topic: string): { site: string; agent: string; kind: string; rest: string } | null {
  const parts = topic.split("/");
  const [root, version, site, agent, kind, ...rest] = parts;
  if (`${root}/${version}` !== TOPIC_ROOT || !Name.safeParse(site).success || !Name.safeParse(agent).success) return null;
  return { site: site as string, agent: agent as string, kind: kind ?? "", rest: rest.join("/") };
}

/** An engine being built can take many minutes: how long it has, and what the last build on this device took, if any. */
export const Building = z.strictObject({
  provider: z.string().max(64),
  elapsedMs: Milliseconds,
  expectedMs: Milliseconds.nullable(),
});
export type Building = z.infer<typeof Building>;

/** What looks at the frames: running on a provider, or why nothing does. Frames are `model-not-ready` unless it runs. */
export const InspectorStatus = z.strictObject({
  state: z.enum(["running", "starting", "building-engine"]),
  runtime: z.enum(["node", "python"]),
  /** The one that really runs the model; "none" before. */
  provider: z.string().max(64),
  building: Building.optional(),
});
export type InspectorStatus = z.infer<typeof InspectorStatus>;

/**
 * What became of a camera's frames since the agent's start. Each one offered is in exactly one of: waiting, in hand, answered,
 * shed because a newer one overtook it, because the queue was full, or because the agent was stopped.
 */
export const CameraCounts = z.strictObject({
  offered: z.int().min(0),
  answered: z.int().min(0),
  /** Of those answered: taken from the queue after their deadline, and not looked at. */
  late: z.int().min(0),
  shedNewer: z.int().min(0),
  shedFull: z.int().min(0),
  shedStopping: z.int().min(0),
  waiting: z.int().min(0),
});
export type CameraCounts = z.infer<typeof CameraCounts>;

/** A stale camera gives no pictures, or none in time. */
export const CameraStatus = z.strictObject({ name: Name, state: z.enum(["running", "stale", "paused"]), frames: CameraCounts });
export type CameraStatus = z.infer<typeof CameraStatus>;

export const AgentStatus = z.strictObject({
  schemaVersion: z.literal(1),
  state: z.enum(["online", "offline"]),
  bootId: z.uuid(),
  version: z.string().max(32),
  at: Timestamp,
  health: AgentHealth.optional(),
  /** Rows the hub has not acknowledged yet. */
  backlog: z.int().min(0).optional(),
  /**
   * Where each boot's stream begins for the hub: its oldest message that is not acknowledged yet, or the next one to come.
   * Everything before `from` is settled (acknowledged, or shed by a full outbox), so a hub that was restored from nothing,
   * or waits at a gap, goes on there. Oldest boots first; the running one is always among them.
   */
  outbox: z
    .array(z.strictObject({ bootId: z.uuid(), from: z.int().min(1) }))
    .max(64)
    .optional(),
  inspector: InspectorStatus.optional(),
  cameras: z.array(CameraStatus).max(16).optional(),
});
export type AgentStatus = z.infer<typeof AgentStatus>;

/**
 * For each boot the hub has heard of lately, the highest contiguous seq it has committed.
 * A broker's PUBACK promises nothing: only this frees an outbox row.
 */
export const Ack = z.strictObject({
  schemaVersion: z.literal(1),
  boots: z.array(z.strictObject({ bootId: z.uuid(), seq: z.int().min(0) })).max(64),
});
export type Ack = z.infer<typeof Ack>;

export const BundleDesired = z.strictObject({
  schemaVersion: z.literal(1),
  digest: Sha256,
  bytes: z.int().min(1),
  release: z.int().min(1),
  /** Path on the agent's one hub, so that a message can never send an agent elsewhere. */
  path: z.string().regex(/^\/v1\/bundles\/[0-9a-f]{64}$/),
});
export type BundleDesired = z.infer<typeof BundleDesired>;

export const BundleReported = z.strictObject({
  schemaVersion: z.literal(1),
  state: z.enum(["running", "downloading", "proving", "building-engine", "refused", "rolled-back"]),
  digest: Sha256,
  settings: Sha256,
  release: z.int().min(1),
  /** Good frames in the memory bank's reference set; 0 while only words decide. */
  references: z.int().min(0),
  /** The bundle that is not running (yet), and why. */
  candidate: Sha256.optional(),
  building: Building.optional(),
  reason: z.string().max(500).optional(),
  at: Timestamp,
});
export type BundleReported = z.infer<typeof BundleReported>;

/**
 * A command travels as a compact JWS (EdDSA) whose payload this is: it changes what is decided, so an agent takes it
 * only from a key its root key named. `id` is used once; `expiresAt` refuses a replay.
 */
export const Command = z.discriminatedUnion("name", [
  z.strictObject({
    name: z.literal("teach"),
    id: z.uuid(),
    site: Name,
    agent: Name,
    expiresAt: Timestamp,
    /** Take the next `count` frames of this camera as known good references. */
    camera: Name,
    count: z.int().min(1).max(500),
  }),
  z.strictObject({
    name: z.literal("trigger"),
    id: z.uuid(),
    site: Name,
    agent: Name,
    expiresAt: Timestamp,
    /** This camera, or all of the station's that it stands at, look at the part in front of them; verdicts come under this trigger. */
    camera: Name,
    trigger: z.string().min(1).max(200),
  }),
  z.strictObject({ name: z.enum(["pause", "resume"]), id: z.uuid(), site: Name, agent: Name, expiresAt: Timestamp, camera: Name }),
]);
export type Command = z.infer<typeof Command>;

/** The wire form of a command: the JWS, with what MQTT 5 would carry in properties. */
export const SignedCommand = z.strictObject({
  jws: z.string().max(8192),
  replyTo: z.string().max(300),
  correlationId: z.uuid(),
  expiresAt: Timestamp,
});
export type SignedCommand = z.infer<typeof SignedCommand>;

export const Reply = z.strictObject({
  schemaVersion: z.literal(1),
  correlationId: z.uuid(),
  ok: z.boolean(),
  state: z.enum(["accepted", "progress", "done", "refused"]),
  message: z.string().max(500),
});
export type Reply = z.infer<typeof Reply>;
