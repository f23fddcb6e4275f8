/**
 * The story as one JSON object: counts, quality of the deployed verdicts with intervals, times, and what is not there yet.
 * AUROC and accuracy are of the scores the agent published for the unseen frames; nothing is scored anew here.
 */
import { type StageMs, StageMs as StageMsSchema, type Verdict } from "@kenpin/schema";
import { auroc, bootstrapInterval, createRandom, pairedBootstrapInterval, quantile } from "@kenpin/stats";
import type { Frame } from "./frames.ts";
import type { Scored, StageName, StoryResult } from "./story.ts";

/** A case ready for measuring: 1 = defective, the score, and whether the score lies on the right side of its cut. */
type Case = { label: 0 | 1; score: number; right: number };
type Figure = { value: number; low: number; high: number };

const RESAMPLES = 2000;
const SEED = 7;

export type SummaryParts = {
  story: StoryResult;
  played: number;
  bundleBefore: { digest: string; bytes: number };
  baseline: { frame: Frame; score: number }[];
};

export function summarise({ story, played, bundleBefore, baseline }: SummaryParts) {
  const verdicts = [...story.verdicts.values()];
  const stages = Object.fromEntries(Object.entries(story.scored).map(([name, scored]) => [name, scored.map(toCase)])) as Record<
    StageName,
    Case[]
  >;
  const plain = baseline.map(({ frame, score }) => ({
    label: labelOf(frame),
    score,
    right: Number(score >= 0.5 === (frame.label === "bad")),
  }));
  const training = story.run.result?.training;
  return {
    frames: played,
    verdicts: verdicts.length + story.duplicates,
    received: verdicts.length,
    lost: played - verdicts.length,
    duplicates: story.duplicates,
    samples: countBy(story.samples.map((row) => row.sample.reason)),
    quality: {
      zeroShot: quality(stages.zeroShot),
      fewShot: quality(stages.fewShot),
      retrained: quality(stages.retrained),
      baseline: quality(plain),
      retrainedMinusFewShot: difference(story.scored.retrained, story.scored.fewShot),
      byDefect: byDefect(story.scored),
    },
    latencyMs: latency(verdicts),
    training: training && {
      engine: training.engine,
      backend: training.backend,
      imagesPerSecond: round(training.imagesPerSecond),
      seconds: round(training.seconds),
      stages: training.stages.map(({ stage, steps, seconds, samplesSeen }) => ({
        stage,
        steps,
        seconds: round(seconds),
        imagesPerSecond: round(samplesSeen / seconds),
      })),
      student: training.student,
      int8: training.int8,
    },
    bundles: { before: bundleBefore, after: story.after },
    absent: [] as string[],
  };
}

/** The summary for a reader: how well each stage told good from bad, and what the plain baseline did. */
export function inWords({ frames, lost, quality, training }: ReturnType<typeof summarise>): string[] {
  const row = (name: string, { auroc: area, accuracy }: { auroc: Figure; accuracy: Figure }) =>
    `  ${name.padEnd(22)} AUROC ${area.value.toFixed(3)} [${area.low.toFixed(3)}, ${area.high.toFixed(3)}]   accuracy ${accuracy.value.toFixed(3)}`;
  return [
    `${frames} frames, ${lost} lost. Unseen frames, 95 % bootstrap intervals:`,
    row("words alone", quality.zeroShot),
    row("with 20 good frames", quality.fewShot),
    row("retrained", quality.retrained),
    row("plain features", quality.baseline),
    ...(training ? shippedInWords(training) : []),
  ];
}

function shippedInWords({ student, int8 }: NonNullable<ReturnType<typeof summarise>["training"]>): string[] {
  const times = `${int8.tileMs.before.toFixed(1)} → ${int8.tileMs.after.toFixed(1)} ms a tile, cosine ${int8.cosine.toFixed(4)}`;
  return [
    `shipped ${student.shipped ? "the student" : "the teacher"}: ${student.why}`,
    int8.shipped ? `in 8 bits: ${times}` : `in float: ${int8.shortfalls.join("; ")}`,
  ];
}

/** A verdict without a score is wrong whatever the frame shows; it ranks as undecided. */
function toCase({ frame, verdict }: Scored): Case {
  const score = verdict.score ?? 0.5;
  const right = verdict.score !== null && score >= verdict.threshold === (frame.label === "bad");
  return { label: labelOf(frame), score, right: Number(right) };
}

function labelOf(frame: Frame): 0 | 1 {
  return frame.label === "bad" ? 1 : 0;
}

function quality(cases: Case[]): { auroc: Figure; accuracy: Figure } {
  return {
    auroc: figure(cases, areaUnder),
    accuracy: figure(cases, (some) => some.reduce((sum, { right }) => sum + right, 0) / some.length),
  };
}

function areaUnder(cases: Case[]): number {
  return auroc(
    cases.map(({ score }) => score),
    cases.map(({ label }) => label),
  );
}

function figure(cases: Case[], measure: (some: Case[]) => number): Figure {
  const interval = bootstrapInterval(cases, measure, {
    resamples: RESAMPLES,
    level: 0.95,
    random: createRandom(SEED),
    stratify: ({ label }) => label,
  });
  return {
    value: round(measure(cases)),
    low: round(interval.low),
    high: round(interval.high),
  };
}

/** Paired by frame: both models are judged on the same resample, which is what makes a small gain visible. */
function difference(after: Scored[], before: Scored[]): { auroc: Figure; accuracy: Figure } {
  const earlier = new Map(before.map((scored) => [scored.frame.sha256, toCase(scored)]));
  const pairs = after.flatMap((scored) => {
    const old = earlier.get(scored.frame.sha256);
    return old ? [{ now: toCase(scored), old }] : [];
  });
  const options = () => ({
    resamples: RESAMPLES,
    level: 0.95,
    random: createRandom(SEED),
    stratify: ({ label }: Case) => label,
  });
  const compare = (measure: (some: Case[]) => number): Figure => {
    const now = pairs.map((pair) => pair.now);
    const old = pairs.map((pair) => pair.old);
    const interval = pairedBootstrapInterval(now, old, measure, options());
    return {
      value: round(measure(now) - measure(old)),
      low: round(interval.low),
      high: round(interval.high),
    };
  };
  return {
    auroc: compare(areaUnder),
    accuracy: compare((some) => some.reduce((sum, { right }) => sum + right, 0) / some.length),
  };
}

/** AUROC of good against each kind of defect alone, because the easy kind hides the hard one. */
function byDefect(scored: Record<StageName, Scored[]>): Record<string, Record<string, number>> {
  const kinds = [...new Set(scored.zeroShot.map(({ frame }) => frame.kind))].filter((kind) => kind !== "good");
  const rows = Object.entries(scored).map(([stage, all]) => {
    const of = (kind: string) => all.filter(({ frame }) => frame.kind === kind || frame.kind === "good").map(toCase);
    return [stage, Object.fromEntries(kinds.map((kind) => [kind, round(areaUnder(of(kind)))]))] as const;
  });
  return Object.fromEntries(rows);
}

function latency(verdicts: Verdict[]): Record<keyof StageMs, { p50: number; p95: number }> {
  const stages = Object.keys(StageMsSchema.shape) as (keyof StageMs)[];
  const inspected = verdicts.filter((verdict) => verdict.score !== null);
  const row = (stage: keyof StageMs) => {
    const times = inspected.map((verdict) => verdict.ms[stage]);
    return {
      p50: round(quantile(times, 0.5)),
      p95: round(quantile(times, 0.95)),
    };
  };
  return Object.fromEntries(stages.map((stage) => [stage, row(stage)])) as Record<keyof StageMs, { p50: number; p95: number }>;
}

function countBy(names: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function round(value: number): number {
  return Number(value.toFixed(4));
}
