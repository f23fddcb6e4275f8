/**
 * Any model in a worker of its own: tensors in, float32 tensors out, and how long the runtime took. Calibration, fidelity
 * reports and the choice of threads and batch use it; a line's frames go through inspector.ts.
 */
import { startWorker } from "./worker-process.ts";

export type RunInput = { name: string; type: "float32" | "int64"; dims: number[] };
export type Tensors = Record<string, { data: Float32Array | BigInt64Array; dims: number[] }>;
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
    const described = Object.entries(inputs).map(([name, { data, dims }]) => ({
      name,
      type: data instanceof Float32Array ? "float32" : "int64",
      dims,
    }));
    const bodies = Object.values(inputs).map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    const answer = await worker.ask({ op: "run", model, threads, inputs: described, outputs }, bodies, TIMEOUT_MS);
    return unpack(answer.result as RunResult, answer.body);
  };
  return { open: (model) => ({ run: (inputs, outputs) => run(model, inputs, outputs), close: async () => {} }), close: worker.close };
}

type RunResult = { outputs: { name: string; length: number }[]; ms: number };

function unpack({ outputs, ms }: RunResult, body: Uint8Array): { tensors: Record<string, Float32Array>; ms: number } {
  const numbers = new Float32Array(new Uint8Array(body).buffer);
  const tensors: Record<string, Float32Array> = {};
  let at = 0;
  for (const { name, length } of outputs) {
    tensors[name] = numbers.subarray(at, at + length);
    at += length;
  }
  return { tensors, ms };
}
