/** The one YAML file an agent starts from. A misspelt key is refused by name with the nearest right one. */
import { z } from "zod";
import { Evidence, Name, Probability } from "./primitives.ts";

export const FolderSource = z.strictObject({
  kind: z.literal("folder"),
  path: z.string().describe("watched folder; a file is inspected once it has been renamed into it, then removed"),
});

export const Camera = z.strictObject({
  name: Name,
  source: z.discriminatedUnion("kind", [FolderSource]),
  part: z.string().max(200).optional(),
  /** What may leave the device. Nothing, until somebody agreed. */
  evidence: Evidence.default("none"),
  deadlineMs: z.number().min(1).default(2000),
});
export type Camera = z.infer<typeof Camera>;

export const Sampling = z.strictObject({
  /** Chance of a frame being drawn at random, whatever it looks like. */
  randomRatio: Probability.default(0.1),
  undecided: z.boolean().default(true),
  surprising: z.boolean().default(true),
  /** Most samples kept for upload in one day. */
  perDay: z.int().min(0).default(200),
});
export type Sampling = z.infer<typeof Sampling>;

export const AgentConfig = z.strictObject({
  site: Name,
  line: Name,
  agent: Name,
  dataDir: z.string(),
  broker: z.strictObject({ url: z.url({ protocol: /^mqtts?$/ }), username: z.string().optional(), password: z.string().optional() }),
  hub: z.strictObject({ url: z.url({ protocol: /^https?$/ }), token: z.string().min(16) }),
  /** Public root key (Ed25519, JWK `x`) that names the signing keys this agent trusts. */
  rootKey: z.string().regex(/^[A-Za-z0-9_-]{43}$/, "an Ed25519 public key in base64url"),
  /** Bundle to start from when none is installed yet. */
  bundle: z.string(),
  cameras: z.array(Camera).min(1).max(16),
  sampling: Sampling.prefault({}),
  threads: z.int().min(1).max(64).optional(),
  logLevel: z.enum(["debug", "info", "warn", "error"]).default("info"),
});
export type AgentConfig = z.infer<typeof AgentConfig>;
