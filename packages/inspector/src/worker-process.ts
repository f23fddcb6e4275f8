/**
 * The inspector's own process. Its JavaScript heap is bounded here, for pixels and tensors lie outside of it; what the process
 * holds in all is bounded by `memoryLimitMb`. With `python` that interpreter runs the models.
 */
import { KenpinError, parseAtDoor, Provider } from "@kenpin/schema";
import { z } from "zod";
import { type Peer, startPeer } from "./peer-process.ts";

export type WorkerOptions = { python?: string | undefined; memoryLimitMb?: number | undefined };
export type RuntimeFacts = z.infer<typeof RuntimeFacts>;

const ORIGIN = import.meta.filename;
const HEAP_LIMIT_MB = 1024;
/** Loading the libraries from a slow card. */
const RUNTIME_TIMEOUT_MS = 150_000;

const RuntimeFacts = z.strictObject({
  kind: z.enum(["node", "python"]),
  version: z.string(),
  offered: z.array(Provider),
  pid: z.int().nullable(),
});

export function startWorker({ memoryLimitMb }: Pick<WorkerOptions, "memoryLimitMb"> = {}): Peer {
  // The same file ending as this one: source while developing, compiled when installed.
  const file = ORIGIN.replace(/worker-process\.(ts|js)$/, "worker.$1");
  const flags = [...process.execArgv.filter((flag) => !flag.startsWith("--test")), `--max-old-space-size=${HEAP_LIMIT_MB}`];
  return startPeer({ command: process.execPath, args: [...flags, file], what: "the inspector", code: "inspector-failed", memoryLimitMb });
}

/** Tells the worker what runs its models, and the caller what that is. */
export async function chooseRuntimeOf(worker: Peer, { python }: WorkerOptions): Promise<RuntimeFacts> {
  try {
    const { result } = await worker.ask({ op: "runtime", python: python ?? null }, [], { timeoutMs: RUNTIME_TIMEOUT_MS });
    const facts = parseAtDoor(RuntimeFacts, result, "the inspector's runtime");
    if (facts.pid !== null) worker.alsoWatch(facts.pid);
    return facts;
  } catch (error) {
    await worker.close();
    throw error instanceof KenpinError ? error : new KenpinError("inspector-failed", String(error));
  }
}
