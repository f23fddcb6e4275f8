/**
 * The hub's HTTP interface. Agents use their own token for blobs and bundles; people and tools use a token with a role.
 *
 * PUT  /v1/blobs/<sha256>        agent     bytes of a sample's frame or map; 201 stored, 200 already there;
 *                                          at most 64 of an agent may wait up to 60 days for the sample that announces them
 * GET  /v1/bundles/<digest>      agent     the tar, with Range
 * GET  /v1/verdicts?after&limit  viewer    VerdictRow[] in the order they were committed; with `newest`, the latest ones, newest first
 * GET  /v1/samples?unlabelled    viewer    SampleRow[], newest first, at most 5000
 * POST /v1/labels                labeller  Label[] → { stored }
 * GET  /v1/agents                viewer    AgentRow[]
 * POST /v1/agents/<site>/<agent>/commands  engineer  CommandRequest → Reply
 * POST /v1/agents                admin     EnrolRequest → Enrolment
 * POST /v1/bundles               engineer  BundleRequest → BundleRow: the base model with the given words or part sheet, signed
 * GET  /v1/bundles               viewer    BundleRow[]
 * POST /v1/runs                  engineer  RunRequest → RunRow
 * GET  /v1/runs                  viewer    RunRow[], newest first
 * GET  /v1/runs/<id>             viewer    RunRow
 * GET  /v1/runs/<id>/progress    viewer    RunProgress[], for the curve
 * POST /v1/rollouts              engineer  RolloutRequest → { desired }
 * GET  /v1/blobs/<sha256>        viewer    a sample's picture or heat map
 * GET  /v1/summary               viewer    HubSummary
 * GET  /v1/events                viewer    server-sent events, each a HubEvent: verdict, sample, run, agent, broker
 * GET  /v1/me                    viewer    Me
 * POST /v1/tokens                admin     TokenRequest → TokenGrant
 * POST /v1/login-links           admin     LoginLinkRequest → LoginLink
 */
import { z } from "zod";
import { Drift } from "./drift.ts";
import { PartSheet, PartWords } from "./part-sheet.ts";
import { Name, Sha256, Timestamp } from "./primitives.ts";
import { Label, Sample } from "./sample.ts";
import { AgentStatus, BundleDesired, BundleReported } from "./topics.ts";
import { Verdict } from "./verdict.ts";

export const VerdictRow = z.strictObject({ row: z.int(), verdict: Verdict, receivedAt: Timestamp });
export type VerdictRow = z.infer<typeof VerdictRow>;

export const SampleRow = z.strictObject({
  sample: Sample,
  stored: z.boolean().describe("the frame's bytes have arrived"),
  label: Label.nullable(),
});
export type SampleRow = z.infer<typeof SampleRow>;

export const AgentRow = z.strictObject({
  site: Name,
  agent: Name,
  status: AgentStatus.nullable(),
  reported: BundleReported.nullable(),
  desired: BundleDesired.nullable(),
  /** What each of its cameras said last, as far as this hub has heard since it started. */
  drift: z.array(Drift),
  verdicts: z.int(),
});
export type AgentRow = z.infer<typeof AgentRow>;

export const CommandRequest = z.discriminatedUnion("name", [
  z.strictObject({ name: z.literal("teach"), camera: Name, count: z.int().min(1).max(500) }),
  z.strictObject({ name: z.literal("trigger"), camera: Name, trigger: z.string().min(1).max(200) }),
  z.strictObject({ name: z.enum(["pause", "resume"]), camera: Name }),
]);
export type CommandRequest = z.infer<typeof CommandRequest>;

export const EnrolRequest = z.strictObject({ site: Name, agent: Name });
export type EnrolRequest = z.infer<typeof EnrolRequest>;

/** What an agent's config needs of its hub; the token is shown this once. */
export const Enrolment = z.strictObject({ site: Name, agent: Name, token: z.string(), rootKey: z.string() });
export type Enrolment = z.infer<typeof Enrolment>;

const BundleName = z.string().min(1).max(100);
const Sentences = z.array(z.string().min(1).max(300)).min(1).max(64);
/** Whole sentences, or a part sheet; with `withText` the bundle also brings what a device needs to embed other words. */
export const BundleRequest = z.union([
  z.strictObject({ name: BundleName, good: Sentences, bad: Sentences, withText: PartWords.shape.withText }),
  z.strictObject({ name: BundleName, sheet: PartSheet, withText: PartWords.shape.withText }),
]);
export type BundleRequest = z.infer<typeof BundleRequest>;

export const BundleRow = z.strictObject({
  digest: Sha256,
  name: z.string(),
  release: z.int(),
  bytes: z.int(),
  createdAt: Timestamp,
  parent: Sha256.nullable(),
});
export type BundleRow = z.infer<typeof BundleRow>;

export const RunRequest = z.strictObject({
  stage: z.literal("tune"),
  parent: Sha256.describe("digest of the bundle to start from"),
  name: z.string().min(1).max(100),
  /** Wall-clock budget of the training itself, in seconds. */
  budgetSeconds: z.number().min(1).max(86_400).default(180),
  seed: z.int().min(0).default(1),
});
export type RunRequest = z.infer<typeof RunRequest>;

/** One line of progress a trainer process prints, and the hub shows. */
export const RunProgress = z.strictObject({
  stage: z.string(),
  step: z.int().min(0),
  steps: z.int().min(0),
  loss: z.number().nullable(),
  imagesPerSecond: z.number().nullable(),
  secondsLeft: z.number().nullable(),
});
export type RunProgress = z.infer<typeof RunProgress>;

export const TrainingFigures = z.strictObject({
  engine: z.string(),
  backend: z.string(),
  imagesPerSecond: z.number(),
  seconds: z.number(),
  steps: z.int(),
  samplesSeen: z.int(),
  /** In the order they ran; compute as forward GFLOPs × samples, a teacher's apart. */
  stages: z.array(
    z.strictObject({
      stage: z.string(),
      steps: z.int(),
      seconds: z.number(),
      samplesSeen: z.int(),
      gflops: z.strictObject({ trained: z.number(), teacher: z.number() }),
    }),
  ),
  /** Whether the bundle holds the distilled student or its teacher, and why. */
  student: z.strictObject({
    shipped: z.boolean(),
    why: z.string(),
    frames: z.int(),
    auroc: z.strictObject({ teacher: z.number(), student: z.number() }),
    accuracy: z.strictObject({ teacher: z.number(), student: z.number() }),
    agreement: z.number(),
    parameters: z.strictObject({ teacher: z.int(), student: z.int() }),
  }),
  /** Whether the bundle's image tower is in 8 bits, what kept it from that, and what it cost and gained. */
  int8: z.strictObject({
    shipped: z.boolean(),
    shortfalls: z.array(z.string()),
    cosine: z.number(),
    bytesRatio: z.number(),
    tileMs: z.strictObject({ before: z.number(), after: z.number() }),
  }),
});
export type TrainingFigures = z.infer<typeof TrainingFigures>;

export const RunRow = z.strictObject({
  id: z.string(),
  state: z.enum(["running", "done", "failed"]),
  request: RunRequest,
  startedAt: Timestamp,
  progress: RunProgress.nullable(),
  error: z.string().nullable(),
  result: z
    .strictObject({
      bundle: Sha256,
      bytes: z.int(),
      release: z.int(),
      training: TrainingFigures,
      /** On labelled, randomly drawn samples the training never saw. */
      heldOut: z.strictObject({ images: z.int(), auroc: z.number().nullable() }),
    })
    .nullable(),
});
export type RunRow = z.infer<typeof RunRow>;

export const RolloutRequest = z.strictObject({ bundle: Sha256, site: Name, agents: z.array(Name).min(1) });
export type RolloutRequest = z.infer<typeof RolloutRequest>;

/** Each role may do what the ones before it may. */
export const Role = z.enum(["viewer", "labeller", "engineer", "admin"]);
export type Role = z.infer<typeof Role>;

export const Me = z.strictObject({ name: z.string(), role: Role });
export type Me = z.infer<typeof Me>;

export const TokenRequest = z.strictObject({ name: Name, role: Role });
export type TokenRequest = z.infer<typeof TokenRequest>;

/** The token is shown this once. */
export const TokenGrant = z.strictObject({ name: Name, role: Role, token: z.string() });
export type TokenGrant = z.infer<typeof TokenGrant>;

export const LoginLinkRequest = z.strictObject({ name: Name.default("operator"), role: Role.default("admin") });
export type LoginLinkRequest = z.input<typeof LoginLinkRequest>;

/** Opens the page once, within five minutes; the path stands on whatever address the hub is reached at. */
export const LoginLink = z.strictObject({ path: z.string().startsWith("/login?code="), expiresAt: Timestamp });
export type LoginLink = z.infer<typeof LoginLink>;

/** Counts over everything the hub ever committed. */
export const HubSummary = z.strictObject({
  verdicts: z.strictObject({ pass: z.int(), fail: z.int(), unknown: z.int() }),
  samples: z.strictObject({ announced: z.int(), unlabelled: z.int(), labelledByGroundTruth: z.int() }),
  broker: z.enum(["connected", "away"]),
  /** Messages since the hub started that were no new verdict or sample, by what was wrong with them. */
  setAside: z.strictObject({ duplicates: z.int(), malformed: z.int(), quarantined: z.int(), unknownAgents: z.int(), postponed: z.int() }),
});
export type HubSummary = z.infer<typeof HubSummary>;

/** The name under which a set's own ground truth labels, so that nobody takes it for a person's judgement. */
export const GROUND_TRUTH = "ground-truth";

export const HubEvent = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("verdict"), data: VerdictRow }),
  z.strictObject({ type: z.literal("sample"), data: SampleRow }),
  z.strictObject({ type: z.literal("run"), data: RunRow }),
  z.strictObject({ type: z.literal("agent"), data: AgentRow }),
  z.strictObject({ type: z.literal("broker"), data: z.strictObject({ state: z.enum(["connected", "away"]) }) }),
]);
export type HubEvent = z.infer<typeof HubEvent>;

export const ErrorBody = z.strictObject({ code: z.string(), message: z.string() });
export type ErrorBody = z.infer<typeof ErrorBody>;
