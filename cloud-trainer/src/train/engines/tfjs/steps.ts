/**
 * The loop every stage of training runs: draw a batch, judge its loss and gradients, take the step or not, say how it went,
 * save what can be gone back to; until the steps or the time are spent.
 * With a number of steps and the same threads, a run killed anywhere and started again gives the same numbers to the bit: a
 * batch depends on its draw alone, and everything else that matters is in the checkpoint. With a time budget the schedule
 * follows the share of it that has passed, whatever this machine's speed.
 */
import { KenpinError, errorLine } from "@kenpin/schema";
import { RECYCLE, type RunFolder } from "../../run-folder.ts";
import type { Tensor, Tf } from "./backend.ts";
import type { Weights } from "./layers.ts";
import { describeResume, type Machine, thisMachine } from "./machine.ts";
import type { LossAndGradients, Objective } from "./objective.ts";
import { squareSum } from "./optimizer.ts";
import { type Tower, towerOf } from "./parameter-groups.ts";
import { type LoopState, pointsInMemory, pointsOnDisk, type ReturnPoints, type Trained } from "./return-points.ts";
import { cosineRate } from "./schedule.ts";
import { createStability, type Stability, type StabilityOptions } from "./stability.ts";

export type StepReport = {
  step: number;
  steps: number;
  loss: number;
  parts: Record<string, number>;
  gradientNorm: number;
  norms: Record<Tower, number>;
  rate: number;
  /** exp(logit_scale), at most 100; null for a stage without one. */
  logitScale: number | null;
  imagesPerSecond: number;
  secondsLeft: number;
  memoryMb: number;
  samplesSeen: number;
};

export type StageEvent = {
  event: "skipped" | "rolled-back" | "resumed" | "checkpoint" | "checkpoint-broken" | "batch-failed" | "memory-high";
  step: number;
  why: string;
};

export type StageRun<B extends { size: number }> = Trained & {
  /**
   * The same draw gives the same batch; draws go on after a rollback, so offending batches do not come back. `progress` is the
   * share of the run that has passed.
   */
  batchAt: (draw: number, progress: number) => B | Promise<B>;
  objective: Objective<B>;
  length: { steps: number } | { seconds: number };
  /** `rate` is the peak, `floor` its share at the end, `warmup` in steps. */
  schedule: { rate: number; warmup: number; floor: number };
  stability: StabilityOptions;
  folder: RunFolder | null;
  /** In steps. */
  checkpointEvery: number;
  /** Resident memory of the process at which it asks to be started afresh; needs a folder. */
  memoryLimitMb: number | null;
  onStep: (report: StepReport) => void;
  onEvent: (event: StageEvent) => void;
  signal?: AbortSignal;
};

export type StageFigures = {
  steps: number;
  /** Drawn and computed, skipped ones too. */
  samplesSeen: number;
  seconds: number;
  skipped: number;
  rollbacks: number;
  resumedAt: number | null;
};

/** Steps before the machine's speed is known well enough to foresee how many there will be. */
const SETTLING_STEPS = 5;
/** So many batches in a row that cannot be drawn are no bad luck. */
const FAILED_BATCHES = 10;
const MEMORY_EVERY = 8;
/** exp(logit_scale) never passes 100 (Radford et al. 2021, section 2.5). */
const LOGIT_SCALE_LIMIT = Math.log(100);

type Counts = Pick<LoopState, "draw" | "samplesSeen" | "seconds" | "skipped" | "rollbacks">;
type Loop<B extends { size: number }> = {
  run: StageRun<B>;
  points: ReturnPoints;
  stability: Stability;
  machine: Machine;
  step: number;
  counts: Counts;
  /** The last step saved, and the one this process went on from. */
  saved: number;
  resumedAt: number | null;
  /** What this process began with, and the steps it has taken since. */
  began: { atMs: number; samplesSeen: number; seconds: number };
  taken: number;
  memoryTold: boolean;
};
type Reading = { loss: number; norm: number; norms: Record<Tower, number>; logitScale: number | null; parts: Record<string, number> };

export async function runSteps<B extends { size: number }>(run: StageRun<B>): Promise<StageFigures> {
  const loop = await begin(run);
  while (!(finished(loop) && (await saved(loop, "the end")))) {
    if (run.signal?.aborted) {
      if (loop.stability.calm()) await saved(loop, "asked to stop");
      run.signal.throwIfAborted();
    }
    await takeStep(loop, await drawBatch(loop));
    await new Promise((resume) => setImmediate(resume));
  }
  const { samplesSeen, skipped, rollbacks } = loop.counts;
  return { steps: loop.step, samplesSeen, seconds: elapsed(loop), skipped, rollbacks, resumedAt: loop.resumedAt };
}

async function begin<B extends { size: number }>(run: StageRun<B>): Promise<Loop<B>> {
  const points = run.folder ? pointsOnDisk(run, run.folder) : pointsInMemory(run);
  const { point, passedOver } = await points.resume();
  const { step = 0, state } = point ?? {};
  const { stability, machine: before, ...counts } = state ?? { draw: 0, samplesSeen: 0, seconds: 0, skipped: 0, rollbacks: 0 };
  const machine = thisMachine(run.tf);
  const loop: Loop<B> = {
    run,
    points,
    stability: createStability(run.stability, stability),
    machine,
    step,
    counts,
    saved: point ? step : -1,
    resumedAt: point ? step : null,
    began: { atMs: performance.now(), samplesSeen: counts.samplesSeen, seconds: counts.seconds },
    taken: 0,
    memoryTold: false,
  };
  tellBroken(loop, passedOver);
  if (point) tell(loop, "resumed", describeResume(before as Machine, machine));
  else await save(loop, "the start");
  return loop;
}

/** One batch's worth: its loss and gradients, the verdict, and what follows from it. */
async function takeStep<B extends { size: number }>(loop: Loop<B>, batch: B): Promise<void> {
  const { run, stability, counts } = loop;
  const made = run.objective(batch);
  const reading = read(run, made);
  counts.samplesSeen += batch.size;
  const verdict = stability.judge(loop.step + 1, reading);
  if (verdict.kind === "accept") update(loop, made.gradients, reading);
  run.tf.dispose([...made.gradients.values()]);
  if (verdict.kind === "accept") return afterStep(loop);
  counts.skipped++;
  if (verdict.kind === "skip") tell(loop, "skipped", verdict.why);
  else await rollBack(loop, verdict.why);
}

function update<B extends { size: number }>(loop: Loop<B>, gradients: ReadonlyMap<string, Tensor>, reading: Reading): void {
  const { tf, weights, optimizer, average, schedule, onStep, folder } = loop.run;
  const steps = expectedSteps(loop);
  const { rate: peak, warmup, floor } = schedule;
  const rate = cosineRate(loop.step, { peak, warmup, steps, floor }) * loop.stability.rateShare();
  optimizer.step(weights, gradients, { rate, norm: reading.norm });
  clampLogitScale(tf, weights);
  average?.update(weights);
  loop.step++;
  loop.taken++;
  const report = reportOf(loop, steps, rate, reading);
  folder?.append(report);
  onStep(report);
}

async function afterStep<B extends { size: number }>(loop: Loop<B>): Promise<void> {
  const { checkpointEvery } = loop.run;
  if (loop.step % checkpointEvery === 0 && !(await save(loop, `every ${checkpointEvery} steps`))) return;
  if (loop.taken % MEMORY_EVERY === 0) await watchMemory(loop);
}

async function rollBack<B extends { size: number }>(loop: Loop<B>, why: string): Promise<void> {
  const { stability, points, counts } = loop;
  const trouble = loop.step;
  const spent = stability.spent();
  const { point, passedOver } = await points.goBack(stability.depth());
  if (spent) throw diverged({ why, trouble, rollbacks: counts.rollbacks, lastGood: point.step });
  tellBroken(loop, passedOver);
  stability.rolledBack(point.state.stability, trouble);
  loop.step = point.step;
  loop.saved = point.step;
  counts.rollbacks++;
  tell(loop, "rolled-back", `${why}; from step ${trouble} back to ${point.step}, the rate at ${stability.rateShare()} of the schedule's`);
}

/** False where the state was not finite and was gone back from. */
async function save<B extends { size: number }>(loop: Loop<B>, why: string): Promise<boolean> {
  const { stability, machine, step, counts } = loop;
  const state: LoopState = { ...counts, seconds: elapsed(loop), stability: stability.state(), machine };
  const odd = await loop.points.save({ step, state, steady: stability.steady() });
  if (odd === null) {
    loop.saved = step;
    tell(loop, "checkpoint", why);
    return true;
  }
  if (loop.saved < 0) throw new KenpinError("weights-not-finite", `the weights to start from are not finite: ${odd}; start from others`);
  await rollBack(loop, `the state is not finite: ${odd}`);
  return false;
}

async function saved<B extends { size: number }>(loop: Loop<B>, why: string): Promise<boolean> {
  return loop.saved === loop.step || (await save(loop, why));
}

async function drawBatch<B extends { size: number }>(loop: Loop<B>): Promise<B> {
  for (let failed = 1; ; failed++) {
    const draw = loop.counts.draw++;
    try {
      return await loop.run.batchAt(draw, loop.step / expectedSteps(loop));
    } catch (error) {
      tell(loop, "batch-failed", `batch ${draw} cannot be drawn: ${errorLine(error)}`);
      if (failed < FAILED_BATCHES) continue;
      throw new KenpinError(
        "batches-unreadable",
        `${failed} batches in a row cannot be drawn, the last because: ${errorLine(error)}; check the data, then start the run again`,
        { cause: error },
      );
    }
  }
}

async function watchMemory<B extends { size: number }>(loop: Loop<B>): Promise<void> {
  const { memoryLimitMb: limit, folder } = loop.run;
  const used = residentMb();
  if (limit === null || used <= limit || loop.memoryTold) return;
  loop.memoryTold = true;
  tell(loop, "memory-high", `the process holds ${used} MB, its limit is ${limit} MB`);
  if (!folder) return;
  if (loop.taken === MEMORY_EVERY) {
    throw new KenpinError(
      "memory-limit-too-low",
      `${used} MB are in use after the first ${MEMORY_EVERY} steps, the limit is ${limit} MB; raise the limit, or lower the batch or turn on recompute`,
    );
  }
  if (await saved(loop, "memory"))
    throw new KenpinError(RECYCLE.error, `${used} MB are in use, the limit is ${limit} MB: saved, to be started again`);
}

/** All that the host must know of a step, in one read-back. */
function read<B extends { size: number }>({ tf, weights }: StageRun<B>, { loss, gradients, parts = {} }: LossAndGradients): Reading {
  const of = (tower: Tower) =>
    squareSum(
      tf,
      [...gradients].filter(([name]) => towerOf(name) === tower).map(([, gradient]) => gradient),
    );
  const scale = weights.get("logit_scale");
  const names = Object.keys(parts);
  const values = tf.tidy(() => {
    const scalars = [loss, of("image"), of("text"), of("other"), scale ?? tf.scalar(0), ...Object.values(parts)];
    return tf.stack(scalars.map((value) => tf.reshape(value, []))).dataSync();
  });
  tf.dispose([loss, ...Object.values(parts)]);
  const [value = Number.NaN, image = 0, text = 0, other = 0, logScale = 0, ...rest] = values;
  return {
    loss: value,
    norm: Math.sqrt(image + text + other),
    norms: { image: Math.sqrt(image), text: Math.sqrt(text), other: Math.sqrt(other) },
    logitScale: scale ? Math.exp(logScale) : null,
    parts: Object.fromEntries(names.map((name, i) => [name, rest[i] as number])),
  };
}

function clampLogitScale(tf: Tf, weights: Weights): void {
  const scale = weights.get("logit_scale");
  if (scale?.trainable) tf.tidy(() => scale.assign(tf.minimum(scale, LOGIT_SCALE_LIMIT)));
}

function reportOf<B extends { size: number }>(loop: Loop<B>, steps: number, rate: number, reading: Reading): StepReport {
  const { loss, parts, norm: gradientNorm, norms, logitScale } = reading;
  const { step, counts, began, taken, run } = loop;
  const here = elapsed(loop) - began.seconds;
  const secondsLeft = "seconds" in run.length ? run.length.seconds - elapsed(loop) : ((steps - step) * here) / taken;
  return {
    step,
    steps,
    loss,
    parts,
    gradientNorm,
    norms,
    rate,
    logitScale,
    imagesPerSecond: (counts.samplesSeen - began.samplesSeen) / here,
    secondsLeft: Math.max(0, secondsLeft),
    memoryMb: residentMb(),
    samplesSeen: counts.samplesSeen,
  };
}

function expectedSteps<B extends { size: number }>({ run: { length }, step, ...loop }: Loop<B>): number {
  if ("steps" in length) return length.steps;
  if (step < SETTLING_STEPS) return 1000;
  return Math.max(step + 1, Math.round((step * length.seconds) / elapsed(loop)));
}

/** Not in the middle of a row of skipped steps: whether the weights are sound is not known before it ends. */
function finished<B extends { size: number }>(loop: Loop<B>): boolean {
  const { length } = loop.run;
  const over = "steps" in length ? loop.step >= length.steps : elapsed(loop) >= length.seconds;
  return over && loop.stability.calm();
}

/** Seconds of training, those of earlier processes included. */
function elapsed({ began }: { began: { atMs: number; seconds: number } }): number {
  return began.seconds + (performance.now() - began.atMs) / 1000;
}

function residentMb(): number {
  return Math.round(process.memoryUsage.rss() / 2 ** 20);
}

function diverged({
  why,
  trouble,
  rollbacks,
  lastGood,
}: {
  why: string;
  trouble: number;
  rollbacks: number;
  lastGood: number;
}): KenpinError {
  return new KenpinError(
    "training-diverged",
    `the training came apart at step ${trouble} (${why}), again after ${rollbacks} rollbacks and at a lowered rate; the last good step is ${lastGood}: ` +
      "lower the rate, lengthen the warm-up, or look at the data of the batches that metrics.jsonl calls skipped",
  );
}

function tellBroken<B extends { size: number }>(loop: Loop<B>, passedOver: readonly { name: string; why: string }[]): void {
  for (const { name, why } of passedOver) tell(loop, "checkpoint-broken", `${name} is passed over: ${why}`);
}

function tell<B extends { size: number }>({ run, step }: Loop<B>, event: StageEvent["event"], why: string): void {
  const line: StageEvent = { event, step, why };
  run.folder?.append(line);
  run.onEvent(line);
}
