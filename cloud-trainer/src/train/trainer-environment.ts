/**
 * Environment of the process that trains, set by whoever starts it, because TensorFlow reads it when it is loaded.
 * The number of threads is pinned: sums split over another number of threads end in other last bits, and a run that is
 * started again on a busy machine must go on as it began.
 */
import { availableParallelism } from "node:os";

const threads = String(availableParallelism());

export const TRAINER_ENVIRONMENT: Readonly<Record<string, string>> = {
  TF_NUM_INTRAOP_THREADS: threads,
  TF_NUM_INTEROP_THREADS: "1",
};
