/**
 * The one door to ONNX Runtime. In: a model file's bytes, or its path where weights may lie in a file beside it. Out: a
 * function from named tensors to named tensors.
 * The runtime blocks its thread while it runs, which is why all of this lives in a worker process.
 */
import { errorLine, KenpinError } from "@kenpin/schema";
import { InferenceSession, Tensor } from "onnxruntime-node";

export type Feed = { data: Float32Array; dims: number[] } | { data: BigInt64Array; dims: number[] };
export type Model = {
  /** All outputs, or those asked for. */
  run: (feeds: Record<string, Feed>, outputs?: string[]) => Promise<Record<string, Float32Array>>;
  release: () => Promise<void>;
};

/** The only provider in onnxruntime-node's CPU build; others come with the Python worker. */
export const PROVIDER = "cpu";

export async function openModel(file: Uint8Array | string, what: string, threads?: number): Promise<Model> {
  try {
    const options: InferenceSession.SessionOptions = {
      executionProviders: [PROVIDER],
      graphOptimizationLevel: "all",
      ...(threads !== undefined && { intraOpNumThreads: threads }),
    };
    const session = await (typeof file === "string" ? InferenceSession.create(file, options) : InferenceSession.create(file, options));
    return {
      run: async (feeds, outputs) => {
        const tensors = Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, toTensor(feed)]));
        const results = await (outputs ? session.run(tensors, outputs) : session.run(tensors));
        return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, tensor.data as Float32Array]));
      },
      release: () => session.release(),
    };
  } catch (error) {
    const why = errorLine(error).split("\n")[0];
    throw new KenpinError("model-unreadable", `${what} is no model this runtime can open (${why}); install the bundle again`, {
      cause: error,
    });
  }
}

function toTensor(feed: Feed): Tensor {
  return feed.data instanceof Float32Array ? new Tensor("float32", feed.data, feed.dims) : new Tensor("int64", feed.data, feed.dims);
}
