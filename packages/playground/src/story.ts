/**
 * The story of `npm start`: words, twenty good frames, labels, a tuned model, and the same eighty frames judged after each.
 *
 * a. zero-shot   the base bundle and words alone
 * b. few-shot    twenty good frames become the memory bank
 * c. samples     the agent sends frames worth learning from; labels come through the hub's own door
 * d. train       the hub tunes the model on them in a process of its own, signs it
 * e. retrained   the agent verifies, proves and takes over the new bundle between two frames
 *
 * The unseen frames are played only on `audit`, a camera that never lets a picture leave, so no stage can learn from them.
 */
import type { RunRow, SampleRow, Verdict } from "@kenpin/schema";
import { KenpinError } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { AGENT, type Factory, SITE, waitUntil } from "./factory.ts";
import type { Frame, Split } from "./frames.ts";
import type { Played } from "./line-camera.ts";

export type StageName = "zeroShot" | "fewShot" | "retrained";
export type Scored = { frame: Frame; verdict: Verdict };
export type StoryResult = {
  scored: Record<StageName, Scored[]>;
  verdicts: Map<string, Verdict>;
  duplicates: number;
  samples: SampleRow[];
  run: RunRow;
  after: { digest: string; bytes: number };
};

/** Where the story stands, for whoever shows it. `part` and `whole` count frames, samples or steps. */
export type Telling = (stage: string, detail: string, part: number, whole: number) => void;

const REFERENCES = 20;
const FRAME_INTERVAL_MS = 40;
const SEED = 20_240_601;

export async function tellStory(factory: Factory, split: Split, tell: Telling): Promise<StoryResult> {
  const random = createRandom(SEED);
  const seenGood = random.shuffle(split.seen.filter((frame) => frame.label === "good"));
  const references = seenGood.slice(0, REFERENCES);
  const ordinary = random.shuffle([...seenGood.slice(REFERENCES), ...split.seen.filter((frame) => frame.label === "bad")]);
  const inbox = new Inbox(factory);
  const audit = async (stage: string) =>
    judge(inbox, await factory.audit.play(random.shuffle([...split.unseen]), FRAME_INTERVAL_MS), stage, tell);

  const zeroShot = await audit("a. words alone");

  await teach(factory, inbox, references, tell);
  const fewShot = await audit("b. with 20 good frames");

  await judge(inbox, await factory.line.play(ordinary, FRAME_INTERVAL_MS), "c. the line runs, the agent picks samples", tell);
  const samples = await labelSamples(factory, split, tell);

  const run = await train(factory, tell);
  const result = run.result as NonNullable<RunRow["result"]>;

  await rollOut(factory, inbox, result.bundle, ordinary, tell);
  const retrained = await audit("e. the same frames, retrained");

  return {
    scored: { zeroShot, fewShot, retrained },
    verdicts: inbox.verdicts,
    duplicates: inbox.duplicates,
    samples,
    run,
    after: { digest: result.bundle, bytes: result.bytes },
  };
}

/** Verdicts as the hub has committed them, by trigger. */
class Inbox {
  readonly verdicts = new Map<string, Verdict>();
  duplicates = 0;
  #factory: Factory;
  #after = 0;

  constructor(factory: Factory) {
    this.#factory = factory;
  }

  async refresh(): Promise<void> {
    for (;;) {
      const rows = await this.#factory.hub.verdicts({
        after: this.#after,
        limit: 500,
      });
      for (const { row, verdict } of rows) {
        this.#after = Math.max(this.#after, row);
        const key = verdict.triggerId ?? verdict.id;
        if (this.verdicts.has(key)) this.duplicates++;
        this.verdicts.set(key, verdict);
      }
      if (rows.length < 500) return;
    }
  }
}

/** Waits until every played frame has its verdict in the hub, and pairs the two. */
async function judge(inbox: Inbox, played: Played[], stage: string, tell: Telling): Promise<Scored[]> {
  const arrived = () => played.filter(({ trigger }) => inbox.verdicts.has(trigger)).length;
  await waitUntil(180_000, `${played.length} verdicts (${stage})`, async () => {
    await inbox.refresh();
    tell(stage, "verdicts in the hub", arrived(), played.length);
    return arrived() === played.length;
  });
  return played.map(({ trigger, frame }) => ({
    frame,
    verdict: inbox.verdicts.get(trigger) as Verdict,
  }));
}

async function teach(factory: Factory, inbox: Inbox, references: Frame[], tell: Telling): Promise<void> {
  const stage = "b. teaching 20 good frames";
  const reply = await factory.hub.command(SITE, AGENT, {
    name: "teach",
    camera: factory.line.name,
    count: references.length,
  });
  if (!reply.ok) throw new KenpinError("teach-refused", `the agent refused to take references: ${reply.message}`);
  await judge(inbox, await factory.line.play(references, FRAME_INTERVAL_MS), stage, tell);
  await waitUntil(60_000, "the agent to report its memory bank", async () => {
    const agent = (await factory.hub.agents()).find((row) => row.agent === AGENT);
    tell(stage, "references in the memory bank", agent?.reported?.references ?? 0, references.length);
    return agent?.reported?.references === references.length;
  });
}

/** Labels every uploaded sample from the set's ground truth, through the door the page uses, and says who did it. */
async function labelSamples(factory: Factory, split: Split, tell: Telling): Promise<SampleRow[]> {
  const stage = "c. samples and labels";
  const byDigest = new Map([...split.seen, ...split.unseen].map((frame) => [frame.sha256, frame]));
  await waitUntil(60_000, "every announced sample to be uploaded", async () => {
    const rows = await factory.hub.samples();
    const agent = (await factory.hub.agents()).find((row) => row.agent === AGENT);
    tell(stage, "samples uploaded", rows.filter((row) => row.stored).length, rows.length);
    return rows.length > 0 && rows.every((row) => row.stored) && (agent?.status?.backlog ?? 0) === 0;
  });
  const samples = await factory.hub.samples();
  const unseen = new Set(split.unseen.map((frame) => frame.sha256));
  const leaked = samples.find((row) => unseen.has(row.sample.frame.sha256));
  if (leaked)
    throw new KenpinError("unseen-frame-leaked", "an unseen frame was sent as a sample; the evidence policy of camera audit failed");
  const labels = samples.flatMap(({ sample }) => {
    const frame = byDigest.get(sample.frame.sha256);
    if (!frame) return [];
    return [
      {
        sample: frame.sha256,
        label: frame.label,
        by: "ground-truth",
        ...(frame.label === "bad" && { defect: frame.kind }),
      },
    ];
  });
  await factory.hub.label(labels);
  tell(stage, "labelled from the set's ground truth", labels.length, samples.length);
  return factory.hub.samples();
}

async function train(factory: Factory, tell: Telling): Promise<RunRow> {
  const stage = "d. tuning the model";
  let run = await factory.hub.startRun({
    stage: "tune",
    parent: factory.bundle.digest,
    name: "woven fabric, tuned",
    budgetSeconds: 180,
    seed: 1,
  });
  await waitUntil(900_000, "the training run", async () => {
    run = await factory.hub.run(run.id);
    if (run.state === "failed") throw new KenpinError("run-failed", `the training run failed: ${run.error ?? "no reason given"}`);
    const { progress } = run;
    if (progress) tell(stage, progressText(progress), progress.step, progress.steps);
    return run.state === "done";
  });
  return run;
}

function progressText({ stage, loss, imagesPerSecond, secondsLeft }: NonNullable<RunRow["progress"]>): string {
  const parts = [stage];
  if (loss !== null) parts.push(`loss ${loss.toFixed(3)}`);
  if (imagesPerSecond !== null) parts.push(`${imagesPerSecond.toFixed(0)} images/s`);
  if (secondsLeft !== null) parts.push(`${Math.ceil(secondsLeft)} s left`);
  return parts.join(", ");
}

/** Rolls out while the line goes on, so that the switch really falls between two frames. */
async function rollOut(factory: Factory, inbox: Inbox, bundle: string, frames: Frame[], tell: Telling): Promise<void> {
  const stage = "e. proving and switching";
  const switched = new AbortController();
  await factory.hub.rollOut({ bundle, site: SITE, agents: [AGENT] });
  const line = factory.line.play(frames, 1000, switched.signal);
  try {
    await waitUntil(120_000, "the agent to take the new bundle over", async () => {
      const agent = (await factory.hub.agents()).find((row) => row.agent === AGENT);
      const reported = agent?.reported;
      if (reported?.candidate === bundle && (reported.state === "refused" || reported.state === "rolled-back")) {
        throw new KenpinError("bundle-refused", `the agent refused the new bundle: ${reported.reason ?? "no reason given"}`);
      }
      const done = reported?.state === "running" && reported.digest === bundle;
      tell(stage, done ? "running the new bundle" : (reported?.state ?? "waiting"), done ? 1 : 0, 1);
      return done;
    });
  } finally {
    switched.abort();
  }
  await judge(inbox, await line, stage, tell);
}
