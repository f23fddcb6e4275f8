/**
 * What decides the last bits of a float32 sum: a run goes on to the bit only where all of it is the same.
 * TensorFlow splits sums over its intra-op threads (TF_NUM_INTRAOP_THREADS, read when it is loaded, else one a processor): the
 * base model's weights after four steps differ between 1, 2 and 4 of them. Inter-op threads and OMP_NUM_THREADS change nothing.
 */
import { availableParallelism, cpus } from "node:os";
import { z } from "zod";
import type { Tf } from "./backend.ts";

export const Machine = z.strictObject({ backend: z.string(), tfjs: z.string(), threads: z.string(), processor: z.string() });
export type Machine = z.infer<typeof Machine>;

export function thisMachine(tf: Tf): Machine {
  return {
    backend: tf.getBackend(),
    tfjs: tf.version_core,
    threads: process.env["TF_NUM_INTRAOP_THREADS"] ?? String(availableParallelism()),
    processor: cpus()[0]?.model ?? "unknown",
  };
}

/** Whether a run saved on one machine goes on to the bit on another, in words. */
export function describeResume(before: Machine, now: Machine): string {
  const changed = (Object.keys(now) as (keyof Machine)[]).filter((key) => before[key] !== now[key]);
  if (changed.length === 0) return "same back end, threads and processor: the numbers go on to the bit";
  const what = changed.map((key) => `${key} ${before[key]} before, ${now[key]} now`).join("; ");
  return `the numbers will differ in their last bits from a run that was not interrupted: ${what}`;
}
