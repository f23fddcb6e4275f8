/**
 * ONNX Runtime in this process, and the one door to it.
 * It blocks its thread while it opens and while it runs, which is why all of this lives in a worker process. Its build lists
 * providers whose libraries may be missing: only a try tells.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Provider } from "@kenpin/schema";
import { env, InferenceSession, listSupportedBackends, Tensor } from "onnxruntime-node";
import { ranOn } from "./ran-on.ts";
import type { Feed, Opened, OpenOptions, Runtime } from "./runtime.ts";

export const nodeRuntime: Runtime = {
  kind: "node",
  version: env.versions.node ?? env.versions.common,
  offered: listSupportedBackends().flatMap(({ name }) => Provider.safeParse(name).data ?? []),
  pid: null,
  open: async (file, provider, options) => {
    if (!options.profile) return openSession(file, provider, options);
    const folder = await mkdtemp(join(tmpdir(), "kenpin-profile-"));
    try {
      return profiled(
        folder,
        await openSession(file, provider, options, { enableProfiling: true, profileFilePrefix: join(folder, "run") }),
      );
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  },
};

type Session = Opened & { session: InferenceSession };

async function openSession(
  file: Uint8Array | string,
  provider: Provider,
  { threads }: OpenOptions,
  profiling: InferenceSession.SessionOptions = {},
): Promise<Session> {
  const options: InferenceSession.SessionOptions = {
    executionProviders: [provider],
    graphOptimizationLevel: "all",
    ...(threads !== undefined && { intraOpNumThreads: threads }),
    // Between two runs the runtime's threads would spin on cores that the next decoding, or the other model, needs.
    extra: { session: { force_spinning_stop: "1" } },
    ...profiling,
  };
  const session = await (typeof file === "string" ? InferenceSession.create(file, options) : InferenceSession.create(file, options));
  return {
    session,
    run: async (feeds, outputs) => {
      const tensors = Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, toTensor(feed)]));
      const results = await (outputs ? session.run(tensors, outputs) : session.run(tensors));
      return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, tensor.data as Float32Array]));
    },
    release: async () => {
      await session.release();
      return {};
    },
  };
}

/** The runtime writes what ran where into a file of its own naming. */
function profiled(folder: string, { session, run }: Session): Opened {
  return {
    run,
    release: async () => {
      try {
        session.endProfiling();
        await session.release();
        const [file] = await readdir(folder);
        return ranOn(JSON.parse(await readFile(join(folder, file as string), "utf8")));
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

function toTensor(feed: Feed): Tensor {
  return feed.data instanceof Float32Array ? new Tensor("float32", feed.data, feed.dims) : new Tensor("int64", feed.data, feed.dims);
}
