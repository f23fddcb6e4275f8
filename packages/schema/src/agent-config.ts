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

/** Where a model may run, as ONNX Runtime calls it. */
export const Provider = z.enum(["tensorrt", "cuda", "webgpu", "cpu"]);
export type Provider = z.infer<typeof Provider>;

export const InspectorConfig = z.strictObject({
  /** `python` is the way to builds that npm does not carry, such as those for a Jetson's GPU. */
  runtime: z.enum(["node", "python"]).default("node"),
  python: z.string().min(1).max(1000).default("python3").describe("interpreter with onnxruntime and numpy, for runtime: python"),
  /** Probed in this order; the first one that runs the model is used. */
  providers: z.array(Provider).min(1).max(4).default(["tensorrt", "cuda", "webgpu", "cpu"]),
  gpuMemoryMb: z.int().min(64).max(1_000_000).optional().describe("most memory of a GPU; all of it where left out"),
  /** An inspector that holds more memory is ended and started again; half of the device's where left out. */
  memoryMb: z.int().min(64).max(1_000_000).optional(),
  engineCache: z.string().min(1).max(1000).optional().describe("folder of built engines and measurements; in dataDir where left out"),
  /** Built engines past this are removed, the longest unused first. */
  engineCacheMb: z.int().min(16).max(1_000_000).default(4096),
});
export type InspectorConfig = z.infer<typeof InspectorConfig>;

/** The agent's own page. Another host than loopback is reached by others, without encryption unless a TLS proxy stands in front. */
export const PageConfig = z.strictObject({
  host: z.string().min(1).max(253).default("127.0.0.1"),
  port: z.int().min(0).max(65_535).default(8321).describe("0 takes any that is free"),
  /** Names it answers to beside its own, as a proxy sends them. */
  allowHosts: z.array(z.string().min(1).max(253)).max(16).default([]),
  pictures: z.string().min(1).max(1000).optional().describe("folder whose pictures the set-up offers"),
});

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
  /** Of the model; measured on the device where left out. */
  threads: z.int().min(1).max(64).optional(),
  inspector: InspectorConfig.prefault({}),
  page: z.union([z.literal(false), PageConfig]).prefault({}),
  /** Whether settings made on this device decide here; else only those signed by a key that the root key names. */
  localSettings: z.boolean().default(true),
  logLevel: z.enum(["debug", "info", "warn", "error"]).default("info"),
});
export type AgentConfig = z.infer<typeof AgentConfig>;
