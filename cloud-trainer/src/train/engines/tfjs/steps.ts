/**
 * The loop every stage of training runs: draw a batch, one step, say how it went, until the time budget is spent.
 * The budget is time, so the schedule follows the share of it that has passed, whatever this machine's speed.
 */
import type { Tensor, Tf } from "./backend.ts";
import type { Weights } from "./layers.ts";
import { trainStep } from "./objective.ts";
import type { Optimizer } from "./optimizer.ts";
import { cosineRate } from "./schedule.ts";

type StepReport = { step: number; steps: number; loss: number; gradientNorm: number; imagesPerSecond: number; secondsLeft: number };
export type Budget = { seconds: number; rate: number; warmup: number; onStep: (report: StepReport) => void };
export type StepFigures = { steps: number; samplesSeen: number; seconds: number; skipped: number };

/** Steps before the machine's speed is known well enough to foresee how many there will be. */
const SETTLING_STEPS = 5;

export async function runSteps<B extends { size: number }>(
  { tf, weights, optimizer }: { tf: Tf; weights: Weights; optimizer: Optimizer },
  { seconds, rate, warmup, onStep }: Budget,
  { nextBatch, loss, after }: { nextBatch: () => B | Promise<B>; loss: (batch: B) => Tensor; after?: (step: number) => void },
): Promise<StepFigures> {
  const startedAt = Date.now();
  const elapsed = () => (Date.now() - startedAt) / 1000;
  let [step, samplesSeen, skipped, steps] = [0, 0, 0, 0];
  while (elapsed() < seconds) {
    const batch = await nextBatch();
    steps = step < SETTLING_STEPS ? 1000 : Math.max(step + 1, Math.round((step * seconds) / elapsed()));
    const result = trainStep(tf, weights, optimizer, cosineRate(step, { peak: rate, warmup, steps }), () => loss(batch));
    step++;
    samplesSeen += batch.size;
    skipped += Number(result.skipped);
    const { loss: value, gradientNorm } = result;
    onStep({
      step,
      steps,
      loss: value,
      gradientNorm,
      imagesPerSecond: samplesSeen / elapsed(),
      secondsLeft: Math.max(0, seconds - elapsed()),
    });
    after?.(step);
    await new Promise((resume) => setImmediate(resume));
  }
  return { steps: step, samplesSeen, seconds: elapsed(), skipped };
}
