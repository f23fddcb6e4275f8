/**
 * Any model in a worker of its own: tensors in, float32 tensors out, and how long the runtime took. Calibration and fidelity
 * reports use it; a line's frames go through inspector.ts.
 */
import { typeOf, unpackOutputs } from "./python-runtime.ts";
import type { Feed } from "./runtime.ts";
import { startWorker } from "./worker-process.ts";

export type Tensors = Record<string, Feed>;
export type ModelRunner = {
  /** All outputs, or those named; `ms` is the runtime's own time. */
  run: (inputs: Tensors, outputs?: string[]) => Promise<{ tensors: Record<string, Float32Array>; ms: number }>;
  close: () => Promise<void>;
};

/** Several models in turn in one process: the one asked last is open. Starting a process costs more than a small model. */
export type ModelWorker = { open: (model: string) => ModelRunner; close: () => Promise<void> };

/** The first question opens the model. */
const TIMEOUT_MS = 600_000;

export function startModel({ model, threads }: { model: string; threads?: number | undefined }): ModelRunner {
  const worker = startModelWorker(threads);
  return { ...worker.open(model), close: worker.close };
}

export function startModelWorker(threads?: number): ModelWorker {
  const worker = startWorker();
  const run = async (model: string, inputs: Tensors, outputs?: string[]) => {
    const described = Object.entries(inputs).map(([name, { data, dims }]) => ({ name, type: typeOf(data), dims }));
    const bodies = Object.values(inputs).map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    const request = { op: "run", model, threads, inputs: described, outputs };
    const { result, body } = await worker.ask(request, bodies, { timeoutMs: TIMEOUT_MS });
    const { outputs: named, ms } = result as { outputs: { name: string; length: number }[]; ms: number };
    return { tensors: unpackOutputs(named, body), ms };
  };
  return { open: (model) => ({ run: (inputs, outputs) => run(model, inputs, outputs), close: async () => {} }), close: worker.close };
}
