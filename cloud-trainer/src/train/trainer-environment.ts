/**
 * Environment of the process that trains, set by whoever starts it, because TensorFlow reads it when it is loaded.
 * glibc gives freed memory back to the kernel and asks for it again at once, large tensors by a mapping of their own: every
 * operation then pays for page faults. Here it keeps what it has (mallopt(3): M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD).
 * The number of threads is pinned: sums split over another number of threads end in other last bits, and a run that is
 * started again on a busy machine must go on as it began.
 */
import { availableParallelism } from "node:os";

const threads = String(availableParallelism());

export const TRAINER_ENVIRONMENT: Readonly<Record<string, string>> = {
  TF_NUM_INTRAOP_THREADS: threads,
  TF_NUM_INTEROP_THREADS: "1",
  MALLOC_MMAP_MAX_: "0",
  MALLOC_TRIM_THRESHOLD_: String(2 ** 40),
  MALLOC_TOP_PAD_: String(2 ** 26),
};
