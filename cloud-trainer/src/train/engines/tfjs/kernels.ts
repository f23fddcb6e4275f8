/** Chooses the kernels for the back end that tfjs runs on: TensorFlow's own where tfjs-node runs, else portable ones. */
import type { Tf } from "./backend.ts";
import { type Kernels, portableKernels } from "./portable-kernels.ts";
import { rawKernels } from "./raw-kernels.ts";

const chosen = new Map<string, Kernels>();

export function kernelsOf(tf: Tf): Kernels {
  const name = tf.getBackend();
  const kernels = chosen.get(name) ?? (name === "tensorflow" ? rawKernels(tf) : portableKernels(tf));
  chosen.set(name, kernels);
  return kernels;
}
