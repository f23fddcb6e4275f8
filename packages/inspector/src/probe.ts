/**
 * Asks a fresh worker to open a model on the first provider that can. A driver that crashes or hangs takes its process with it, which
 * no answer tells: then a new worker is asked, without that provider.
 * In: what the worker is to run on, and the question. Out: the worker, still running, and its answer.
 */
import { KenpinError, type Provider } from "@kenpin/schema";
import type { Peer } from "./peer-process.ts";
import type { Progress } from "./protocol.ts";
import type { PassedOver } from "./runtime.ts";
import { chooseRuntimeOf, type RuntimeFacts, startWorker, type WorkerOptions } from "./worker-process.ts";

export type Probing = WorkerOptions & {
  /** Tried in order; the CPU where left out. */
  providers?: readonly Provider[];
  /** Told before each provider is tried, since a try may take minutes. */
  onStep?: ((progress: Progress) => void) | undefined;
  /** Ends the worker, however deep in a build it is. */
  signal?: AbortSignal | undefined;
};
type Probed = { worker: Peer; runtime: RuntimeFacts; result: { provider: Provider; passedOver: PassedOver[] } };

export async function askProbing(probing: Probing, request: Record<string, unknown>, timeoutMs: number): Promise<Probed> {
  const { providers = ["cpu"], onStep, python, memoryLimitMb, signal } = probing;
  const options = { python, memoryLimitMb };
  const deadly: PassedOver[] = [];
  for (;;) {
    const left = providers.filter((provider) => !deadly.some((one) => one.provider === provider));
    const worker = startWorker(options);
    const giveUp = () => worker.kill("was given up before it was ready");
    signal?.addEventListener("abort", giveUp);
    void worker.ended.then(() => signal?.removeEventListener("abort", giveUp));
    if (signal?.aborted) giveUp();
    let tried: Provider | null = null;
    const onProgress = (progress: Progress) => {
      tried = progress.provider;
      onStep?.(progress);
    };
    try {
      const runtime = await chooseRuntimeOf(worker, options);
      const { result } = await worker.ask({ ...request, providers: left }, [], { timeoutMs, onProgress });
      const probed = result as Probed["result"];
      const passedOver = [...deadly, ...probed.passedOver].sort((a, b) => providers.indexOf(a.provider) - providers.indexOf(b.provider));
      return { worker, runtime, result: { ...probed, passedOver } };
    } catch (error) {
      await worker.close();
      const gone = error instanceof KenpinError && (error.code === "inspector-failed" || error.code === "runtime-failed");
      if (!gone || tried === null || left.length <= 1 || signal?.aborted) throw error;
      deadly.push({ provider: tried, why: error.message, endedIt: true });
    }
  }
}
