/**
 * The hub's HTTP interface. Agents use their own token for blobs and bundles; people and tools use a token with a role.
 *
 * PUT  /v1/blobs/<sha256>        agent     bytes of a sample's frame or map; 201 stored, 200 already there
 * GET  /v1/bundles/<digest>      agent     the tar, with Range
 * GET  /v1/verdicts?after&limit  viewer    VerdictRow[]
 * GET  /v1/samples?unlabelled    labeller  SampleRow[]
 * POST /v1/labels                labeller  Label[] → { stored }
 * GET  /v1/agents                viewer    AgentRow[]
 * POST /v1/agents/<site>/<agent>/commands  engineer  CommandRequest → Reply
 * POST /v1/agents                admin     EnrolRequest → Enrolment
 * POST /v1/bundles               engineer  BundleRequest → BundleRow: the base model with the given words, signed
 * GET  /v1/bundles               viewer    BundleRow[]
 * POST /v1/runs                  engineer  RunRequest → RunRow
 * GET  /v1/runs/<id>             viewer    RunRow
 * POST /v1/rollouts              engineer  RolloutRequest → { desired }
 * GET  /v1/events                viewer    server-sent events: verdict, sample, run, agent
 */
import { z } from "zod";
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
  verdicts: z.int(),
});
export type AgentRow = z.infer<typeof AgentRow>;

export const CommandRequest = z.discriminatedUnion("name", [
  z.strictObject({ name: z.literal("teach"), camera: Name, count: z.int().min(1).max(500) }),
  z.strictObject({ name: z.enum(["pause", "resume"]), camera: Name }),
]);
export type CommandRequest = z.infer<typeof CommandRequest>;

export const EnrolRequest = z.strictObject({ site: Name, agent: Name });
export type EnrolRequest = z.infer<typeof EnrolRequest>;

/** What an agent's config needs of its hub; the token is shown this once. */
export const Enrolment = z.strictObject({ site: Name, agent: Name, token: z.string(), rootKey: z.string() });
export type Enrolment = z.infer<typeof Enrolment>;

export const BundleRequest = z.strictObject({
  name: z.string().min(1).max(100),
  good: z.array(z.string().min(1).max(300)).min(1).max(64),
  bad: z.array(z.string().min(1).max(300)).min(1).max(64),
});
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

export const ErrorBody = z.strictObject({ code: z.string(), message: z.string() });
export type ErrorBody = z.infer<typeof ErrorBody>;
