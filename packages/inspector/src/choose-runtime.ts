/**
 * Which provider, how many threads and how many tiles at once suit a model on this device: measured, because neither core count
 * nor kernel tables tell (hyper-threads, shared caches, small models that a second thread only slows, a GPU that leaves half of the
 * nodes to the CPU).
 * In: an image tower and its side, and the providers to probe. Out: the choice with the smallest median time a tile, and all that
 * was measured. Bounded by a budget, past which only what must be known is measured.
 */
import { availableParallelism } from "node:os";
import type { Provider } from "@kenpin/schema";
import type { Measurement } from "./measure-model.ts";
import { askProbing, type Probing } from "./probe.ts";
import type { Opening } from "./protocol.ts";
import type { PassedOver } from "./runtime.ts";
import type { RuntimeFacts } from "./worker-process.ts";

export type RuntimeChoice = { provider: Provider; threads: number; batch: number; msPerTile: number };
export type ChosenRuntime = {
  best: RuntimeChoice;
  measured: RuntimeChoice[];
  passedOver: PassedOver[];
  ranOn: Measurement["ranOn"];
  /** From the start of the try to the first answer, engine and all. */
  openMs: number;
  runtime: Pick<RuntimeFacts, "kind" | "version">;
};
export type ChooseRuntimeOptions = Probing &
  Pick<Opening, "gpuMemoryMb" | "engineDir"> & {
    visionModel: string;
    side: number;
    /** How many tiles a frame has at most. */
    maxTiles: number;
    /** Candidates, the first one measured whatever it takes; by default the device's cores, and fewer. */
    threads?: readonly number[];
    /** Candidates; by default 1, 2, 4, … up to 16. */
    batches?: readonly number[];
    budgetMs?: number;
  };

const BUDGET_MS = 2000;
const TIMEOUT_MS = 600_000;
/** A provider that leaves more than this to the CPU has not run the model. */
const LEAST_SHARE = 0.5;
const MOST_TILES = 16;

export async function chooseRuntime(options: ChooseRuntimeOptions): Promise<ChosenRuntime> {
  const { providers = ["cpu"] } = options;
  const chosen = await measured(options, providers);
  const { provider, msPerTile } = chosen.best;
  const later = providers.slice(providers.indexOf(provider) + 1);
  if (provider === "cpu" || later.length === 0) return chosen;
  const instead = (why: string, next: ChosenRuntime): ChosenRuntime => ({
    ...next,
    measured: [...chosen.measured, ...next.measured],
    passedOver: [...chosen.passedOver, { provider, why }, ...next.passedOver],
  });
  const share = chosen.ranOn[provider] ?? 0;
  if (share < LEAST_SHARE) {
    return instead(`only ${Math.round(share * 100)} % of the work ran there`, await chooseRuntime({ ...options, providers: later }));
  }
  if (!later.includes("cpu")) return chosen;
  const cpu = await measured(options, ["cpu"]);
  if (cpu.best.msPerTile < msPerTile) {
    return instead(`slower than the CPU: ${msPerTile.toFixed(1)} against ${cpu.best.msPerTile.toFixed(1)} ms a tile`, cpu);
  }
  return { ...chosen, measured: [...chosen.measured, ...cpu.measured] };
}

/** One worker measures it all; the first answer also says which provider runs. */
async function measured(options: ChooseRuntimeOptions, providers: readonly Provider[]): Promise<ChosenRuntime> {
  const { visionModel: model, side, maxTiles, batches = powersTo(Math.min(maxTiles, MOST_TILES)), budgetMs = BUDGET_MS } = options;
  const { threads = powersTo(availableParallelism()).toReversed(), gpuMemoryMb, engineDir } = options;
  const request = (count: number, budget: number) => ({
    op: "measure",
    ...{ model, side, maxTiles, batches, gpuMemoryMb, engineDir },
    ...{ threads: count, budgetMs: budget },
  });
  const [first = 1, ...fewer] = threads;
  const { worker, runtime, result } = await askProbing({ ...options, providers }, request(first, budgetMs / 2), TIMEOUT_MS);
  try {
    const { provider, passedOver, ranOn, openMs, times } = result as Measurement;
    const all = times.map((time) => ({ provider, threads: first, ...time }));
    const counts = provider === "cpu" ? fewer : []; // a GPU's work is not done by threads
    for (const count of counts) {
      const ask = { ...request(count, budgetMs / 2 / counts.length), providers: [provider] };
      const { result: more } = await worker.ask(ask, [], { timeoutMs: TIMEOUT_MS });
      all.push(...(more as Measurement).times.map((time) => ({ provider, threads: count, ...time })));
    }
    const best = all.reduce((a, b) => (b.msPerTile < a.msPerTile ? b : a));
    return { best, measured: all, passedOver, ranOn, openMs, runtime: { kind: runtime.kind, version: runtime.version } };
  } finally {
    await worker.close();
  }
}

function powersTo(most: number): number[] {
  const powers = [1, 2, 4, 8, 16, 32, 64].filter((count) => count < most);
  return [...powers, most];
}
