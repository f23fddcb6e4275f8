/** The one YAML file an agent starts from. A misspelt key is refused by name with the nearest right one. */
import { z } from "zod";
import { Evidence, Name, Probability } from "./primitives.ts";

export const FolderSource = z.strictObject({
  kind: z.literal("folder"),
  path: z.string().describe("watched folder; a file is inspected once it has been renamed into it, then removed"),
});

/** A password lies in the environment or in a file of its own, never in the configuration. */
export const CameraLogin = z
  .strictObject({
    username: z.string().min(1).max(200),
    passwordEnv: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]{0,99}$/, "the name of an environment variable")
      .optional(),
    passwordFile: z.string().min(1).max(1000).optional(),
  })
  .refine(({ passwordEnv, passwordFile }) => (passwordEnv === undefined) !== (passwordFile === undefined), {
    error: "a login needs one of passwordEnv and passwordFile",
  });
export type CameraLogin = z.infer<typeof CameraLogin>;

/** A camera that answers a GET with one picture. */
export const SnapshotSource = z.strictObject({
  kind: z.literal("snapshot"),
  url: z.url({ protocol: /^https?$/ }).max(2000),
  login: CameraLogin.optional(),
  intervalMs: z.int().min(10).max(3_600_000).default(500).describe("from one picture to the next"),
  timeoutMs: z.int().min(50).max(60_000).default(5000),
});
export type SnapshotSource = z.infer<typeof SnapshotSource>;

/** How a program gives pictures; one that is silent for `silenceMs` is ended and started anew. */
const ChildSource = {
  silenceMs: z.int().min(500).max(600_000).default(10_000),
};
const FfmpegSource = {
  ...ChildSource,
  framesPerSecond: z.number().min(0.01).max(240).optional().describe("all that the camera gives where left out"),
  picture: z.enum(["jpeg", "png"]).default("jpeg").describe("how ffmpeg hands pictures over; png keeps every bit of what was decoded"),
  command: z.string().min(1).max(1000).default("ffmpeg"),
};

export const RtspSource = z.strictObject({
  kind: z.literal("rtsp"),
  url: z.url({ protocol: /^rtsps?$/ }).max(2000),
  login: CameraLogin.optional(),
  transport: z.enum(["tcp", "udp"]).default("tcp"),
  ...FfmpegSource,
});
export type RtspSource = z.infer<typeof RtspSource>;

/** A camera that Linux shows as a video device. */
export const UsbSource = z.strictObject({
  kind: z.literal("usb"),
  device: z.string().regex(/^\/dev\/[A-Za-z0-9_./:-]{1,200}$/, "a device such as /dev/video0"),
  width: z.int().min(16).max(20_000).optional(),
  height: z.int().min(16).max(20_000).optional(),
  pixels: z
    .string()
    .regex(/^[a-z0-9_]{1,32}$/)
    .optional()
    .describe("what the camera is asked for, such as mjpeg or yuyv422"),
  ...FfmpegSource,
});
export type UsbSource = z.infer<typeof UsbSource>;

/** A pipeline as for gst-launch-1.0, up to its jpegenc or pngenc: aravissrc ! videoconvert ! jpegenc. */
export const GstreamerSource = z.strictObject({
  kind: z.literal("gstreamer"),
  pipeline: z.string().min(1).max(4000),
  ...ChildSource,
  command: z.string().min(1).max(1000).default("gst-launch-1.0"),
});
export type GstreamerSource = z.infer<typeof GstreamerSource>;

/** Pictures that somebody sends to the agent's own door, as POST /v1/frames/<camera>. */
export const PushSource = z.strictObject({ kind: z.literal("push") });

/** Which part of a picture is looked at, in pixels from its upper left corner. From there on it is the frame: nothing else of it is kept. */
export const FrameRegion = z.strictObject({
  x: z.int().min(0).max(100_000),
  y: z.int().min(0).max(100_000),
  width: z.int().min(1).max(100_000),
  height: z.int().min(1).max(100_000),
});
export type FrameRegion = z.infer<typeof FrameRegion>;

export const QueueConfig = z.strictObject({
  /** With `newest-first` a new frame overtakes those that wait, `every-frame` refuses new ones while it is full; both are counted. */
  order: z
    .enum(["newest-first", "every-frame"])
    .optional()
    .describe("every-frame for folders and pushes, newest-first for others, where left out"),
  frames: z.int().min(1).max(256).default(8).describe("most frames that wait in memory; of a folder with newest-first, that wait in it"),
});
export type QueueConfig = z.infer<typeof QueueConfig>;

export const Camera = z.strictObject({
  name: Name,
  source: z.discriminatedUnion("kind", [FolderSource, SnapshotSource, PushSource, RtspSource, UsbSource, GstreamerSource]),
  part: z.string().max(200).optional(),
  /** What may leave the device. Nothing, until somebody agreed. */
  evidence: Evidence.default("none"),
  deadlineMs: z.number().min(1).default(2000),
  region: FrameRegion.optional(),
  /** Inspects only what a trigger asks for; other pictures only show that the camera lives. */
  triggered: z.boolean().default(false),
  /** How old a picture is when a stream gives it: one that comes sooner after a trigger shows what was there before. */
  latencyMs: z.int().min(0).max(60_000).default(0),
  queue: QueueConfig.prefault({}),
  /** A live camera is stale once it is lost, or without a picture for so long and for one and a half of its intervals. */
  staleMs: z.int().min(100).max(3_600_000).default(800),
});
export type Camera = z.infer<typeof Camera>;

export const Sampling = z.strictObject({
  /** Chance of a frame being drawn at random, whatever it looks like. */
  randomRatio: Probability.default(0.1),
  undecided: z.boolean().default(true),
  surprising: z.boolean().default(true),
  /** A few frames of a camera that drifts. */
  drifting: z.boolean().default(true),
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

/** Where machines of the line send frames and triggers. The token stands in a file or in the environment, never here. */
/** Pictures of a program's own that the line door inspects. */
export const AskedPictures = z.strictObject({
  camera: Name.default("asked").describe("the camera whose verdicts these are; none of `cameras`"),
  part: z.string().max(200).optional(),
  deadlineMs: z.number().min(1).max(60_000).default(5000),
  /** More pictures than this at once are refused, so that the line's own cameras are never kept waiting. */
  waiting: z.int().min(1).max(64).default(8),
});
export type AskedPictures = z.infer<typeof AskedPictures>;

export const LineDoorConfig = z
  .strictObject({
    host: z.string().min(1).max(253).default("127.0.0.1"),
    port: z.int().min(0).max(65_535).default(8322).describe("0 takes any that is free"),
    allowHosts: z.array(z.string().min(1).max(253)).max(16).default([]),
    tokenFile: z.string().min(1).max(1000).optional(),
    tokenEnv: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]{0,99}$/, "the name of an environment variable")
      .optional(),
    inspect: AskedPictures.optional().describe("whether programs may ask for the verdict of a picture of theirs"),
  })
  .refine(({ tokenFile, tokenEnv }) => (tokenFile === undefined) !== (tokenEnv === undefined), "name tokenFile or tokenEnv, one of them");
export type LineDoorConfig = z.infer<typeof LineDoorConfig>;

const ModbusAddress = z.int().min(0).max(65_535);

/** A PLC that serves Modbus TCP; addresses from 0, as on the wire. */
export const ModbusLineConfig = z.strictObject({
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535).default(502),
  unit: z.int().min(0).max(255).default(1),
  pollMs: z.int().min(5).max(1000).default(20),
  timeoutMs: z.int().min(20).max(5000).default(200),
  trigger: z.strictObject({
    register: ModbusAddress.describe("holding register with the part's id, 1 to 65535; 0 is no part"),
    coil: ModbusAddress.optional().describe("whose rise is the trigger; else a new id is"),
  }),
  output: z.int().min(0).max(65_532).describe("first of four holding registers: id, result (1 pass, 2 fail, 3 unknown), ready, heartbeat"),
});
export type ModbusLineConfig = z.infer<typeof ModbusLineConfig>;

/** Cameras that look at the same part: one answer for it, the worst of theirs, by the shortest of their deadlines. */
export const StationConfig = z.strictObject({
  name: Name,
  cameras: z.array(Name).min(1).max(16),
  /** Without a sign of life from the inspector for so long, the station is not ready. */
  aliveMs: z.int().min(100).max(60_000).default(800),
  modbus: ModbusLineConfig.optional(),
});
export type StationConfig = z.infer<typeof StationConfig>;

const PemFile = z.string().min(1).max(1000).optional();

/** With `mqtts:` the certificate files are read again when they change, without a restart. */
export const BrokerConfig = z
  .strictObject({
    url: z.url({ protocol: /^mqtts?$/ }),
    username: z.string().optional(),
    password: z.string().optional(),
    ca: PemFile.describe("authorities to trust in place of the system's, PEM"),
    cert: PemFile.describe("this agent's certificate, PEM"),
    key: PemFile.describe("its private key, PEM"),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), "a client certificate needs both cert and key")
  .refine(({ url, ca, cert }) => url.startsWith("mqtts:") || (ca ?? cert) === undefined, "ca, cert and key need an mqtts: address");

/** What stays on the device's disk, and how long. What the hub has not acknowledged is no part of it: it stays. */
export const RecordConfig = z.strictObject({
  /** Verdicts that the hub has acknowledged; 0 keeps none. */
  verdictDays: z.int().min(0).max(3650).default(30),
  verdictMb: z.int().min(0).max(1_000_000).default(512),
  /** Pictures that wait for the hub. */
  pictureDays: z.int().min(1).max(3650).default(30),
  pictureMb: z.int().min(1).max(1_000_000).default(2048),
  /** With less room on the disk, pictures go, then acknowledged verdicts, then samples; never a verdict that waits. */
  keepFreeMb: z.int().min(0).max(1_000_000).default(256),
});
export type RecordConfig = z.infer<typeof RecordConfig>;

/** GET /metrics for Prometheus; needs no sign-in, so it stays on loopback unless the network around it may know its figures. */
export const MetricsConfig = z.strictObject({
  host: z.string().min(1).max(253).default("127.0.0.1"),
  port: z.int().min(0).max(65_535).default(9464).describe("0 takes any that is free"),
  allowHosts: z.array(z.string().min(1).max(253)).max(16).default([]),
});

export const AgentConfig = z.strictObject({
  site: Name,
  line: Name,
  agent: Name,
  dataDir: z.string(),
  broker: BrokerConfig,
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
  stations: z.array(StationConfig).max(16).default([]),
  lineDoor: z.union([z.literal(false), LineDoorConfig]).default(false),
  record: RecordConfig.prefault({}),
  metrics: z.union([z.literal(false), MetricsConfig]).default(false),
  /** Whether settings made on this device decide here; else only those signed by a key that the root key names. */
  localSettings: z.boolean().default(true),
  logLevel: z.enum(["debug", "info", "warn", "error"]).default("info"),
});
export type AgentConfig = z.infer<typeof AgentConfig>;
