/** The summary's figures on a story small enough to count by hand. */
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { test } from "node:test";
import type { Verdict } from "@kenpin/schema";
import type { Frame } from "../../packages/playground/src/frames.ts";
import type { Scored, StoryResult } from "../../packages/playground/src/story.ts";
import { inWords, summarise } from "../../packages/playground/src/summary.ts";
import { makeSample, makeVerdict } from "../support/hub.ts";

/** Two good frames and two of each kind of defect. */
const frames: Frame[] = ["good", "good", "local", "local", "global", "global"].map((kind, i) => ({
  file: `${i}.png`,
  kind,
  label: kind === "good" ? "good" : "bad",
  sha256: createHash("sha256").update(`${i}`).digest("hex"),
}));
const bootId = randomUUID();

function judged(scores: (number | null)[], part: Partial<Verdict> = {}): Scored[] {
  return scores.map((score, i) => ({ frame: frames[i] as Frame, verdict: makeVerdict({ bootId, seq: i + 1, score, ...part }) }));
}

const PERFECT = [0.1, 0.2, 0.8, 0.9, 0.7, 0.6];
const HALF_BLIND = [0.1, 0.3, 0.2, 0.2, 0.9, 0.8]; // local defects lie between the good ones

function storyOf(parts: Partial<StoryResult["scored"]> = {}, more: Partial<StoryResult> = {}): StoryResult {
  const scored = { zeroShot: judged(HALF_BLIND), fewShot: judged(HALF_BLIND), retrained: judged(PERFECT), ...parts };
  const all = Object.values(scored).flat();
  return {
    scored,
    verdicts: new Map(all.map(({ verdict }) => [verdict.id, verdict])),
    duplicates: 0,
    samples: [],
    run: {
      id: "r1",
      state: "done",
      startedAt: new Date().toISOString(),
      progress: null,
      error: null,
      result: null,
    } as unknown as StoryResult["run"],
    after: { digest: "b".repeat(64), bytes: 2 },
    ...more,
  };
}

function summaryOf(story: StoryResult, played = story.verdicts.size) {
  const baseline = frames.map((frame, i) => ({ frame, score: PERFECT[i] as number }));
  return summarise({ story, played, bundleBefore: { digest: "a".repeat(64), bytes: 1 }, baseline });
}

test("AUROC and accuracy are those of the published scores, stage by stage", () => {
  const { quality } = summaryOf(storyOf());
  assert.deepEqual([quality.retrained.auroc.value, quality.retrained.accuracy.value], [1, 1]);
  // of 8 pairs of a good and a bad frame: 0.1 lies below all 4, 0.3 below the 2 global ones; at 0.5 two of six are wrong
  assert.deepEqual([quality.fewShot.auroc.value, quality.fewShot.accuracy.value], [0.75, 0.6667]);
  assert.deepEqual(quality.retrained.auroc, { value: 1, low: 1, high: 1 });
  const { low, high } = quality.fewShot.auroc;
  assert.ok(low < 0.75 && high > 0.75 && low >= 0 && high <= 1);
  assert.equal(quality.baseline.auroc.value, 1);
});

test("the easy kind of defect does not hide the hard one", () => {
  const { byDefect } = summaryOf(storyOf()).quality;
  assert.deepEqual(byDefect, {
    zeroShot: { local: 0.5, global: 1 },
    fewShot: { local: 0.5, global: 1 },
    retrained: { local: 1, global: 1 },
  });
});

test("the gain is measured frame by frame, in whatever order the frames were played", () => {
  const shuffled = storyOf({ retrained: judged(PERFECT).toReversed() });
  const { retrainedMinusFewShot } = summaryOf(shuffled).quality;
  assert.equal(retrainedMinusFewShot.auroc.value, 0.25);
  assert.equal(retrainedMinusFewShot.accuracy.value, 0.3333);
  const same = summaryOf(storyOf({ retrained: judged(HALF_BLIND).toReversed() })).quality.retrainedMinusFewShot;
  assert.deepEqual(same.auroc, { value: 0, low: 0, high: 0 });
});

test("accuracy is taken at each verdict's own threshold; a verdict without a score is wrong whatever the frame shows", () => {
  const strict = summaryOf(storyOf({ retrained: judged(PERFECT, { threshold: 0.65 }) })).quality.retrained;
  assert.deepEqual([strict.auroc.value, strict.accuracy.value], [1, 0.8333]);
  const missing = summaryOf(storyOf({ retrained: judged([null, 0.2, 0.8, 0.9, 0.7, null]) })).quality.retrained;
  assert.equal(missing.accuracy.value, 0.6667);
  assert.ok(missing.auroc.value < 1);
});

test("frames, verdicts, lost and repeated ones are counted", () => {
  const verdict = makeVerdict({ bootId, seq: 1 });
  const frame = { sha256: "c".repeat(64), bytes: 1, type: "image/png" as const };
  const row = (reason: "random" | "undecided") => ({ sample: { ...makeSample(verdict, 1, frame), reason }, stored: true, label: null });
  const story = storyOf({}, { duplicates: 3, samples: [row("random"), row("undecided"), row("random")] });
  const { verdicts, received, lost, duplicates, samples, frames: played } = summaryOf(story, 20);
  assert.deepEqual({ played, verdicts, received, lost, duplicates }, { played: 20, verdicts: 21, received: 18, lost: 2, duplicates: 3 });
  assert.deepEqual(samples, { random: 2, undecided: 1 });
});

test("latencies are the medians and 95th percentiles of frames that were inspected", () => {
  const ms = (total: number) => ({ decode: 1, preprocess: 2, infer: 3, decide: 4, total });
  const verdicts = Array.from({ length: 21 }, (_, i) => makeVerdict({ bootId, seq: i + 1, score: 0.5, ms: ms(i) }));
  verdicts.push(makeVerdict({ bootId, seq: 22, score: null, ms: ms(5000) }));
  const { latencyMs } = summaryOf(storyOf({}, { verdicts: new Map(verdicts.map((verdict) => [verdict.id, verdict])) }));
  assert.deepEqual(latencyMs.total, { p50: 10, p95: 19 });
  assert.deepEqual(latencyMs.decode, { p50: 1, p95: 1 });
});

test("the summary is one line of JSON, the same at every call, and its words say the same", () => {
  const story = storyOf();
  const summary = summaryOf(story);
  assert.deepEqual(JSON.parse(JSON.stringify(summary)), JSON.parse(JSON.stringify(summaryOf(story))));
  assert.ok(!JSON.stringify(summary).includes("\n"));
  const lines = inWords(summary);
  assert.match(lines[0] as string, /^18 frames, 0 lost\./);
  assert.match(lines.find((line) => line.includes("retrained")) as string, /AUROC 1\.000 \[1\.000, 1\.000\] {3}accuracy 1\.000$/);
});
