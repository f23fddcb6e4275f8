/**
 * How many threads and tiles at once suit a model on this device: measured, because neither core count nor kernel tables
 * tell (hyper-threads, shared caches, small models that a second thread only slows).
 * In: an image tower and its side. Out: the pair with the smallest median time a tile, and all that was measured.
 */
import { availableParallelism } from "node:os";
import { startModel } from "./run-model.ts";

export type RuntimeChoice = { threads: number; batch: number; msPerTile: number };
export type ChooseRuntimeOptions = {
  visionModel: string;
  side: number;
  /** Candidates; by default 1, 2, 4, … up to the device's cores. */
  threads?: number[];
  /** Candidates: how many tiles a frame has at most. */
  batches?: number[];
  rounds?: number;
};

/** Runs that warm caches and memory plans, not counted. */
const WARM_UP = 2;

export async function chooseRuntime(options: ChooseRuntimeOptions): Promise<{ best: RuntimeChoice; measured: RuntimeChoice[] }> {
  const { visionModel, side, threads = powersUpTo(availableParallelism()), batches = [1, 2, 4], rounds = 7 } = options;
  const measured: RuntimeChoice[] = [];
  for (const count of threads) {
    const model = startModel({ model: visionModel, threads: count });
    try {
      for (const batch of batches) {
        const size = 3 * side * side;
        const pixels = Float32Array.from({ length: batch * size }, (_, i) => Math.sin(i * 0.7) * 2);
        const times: number[] = [];
        for (let round = -WARM_UP; round < rounds; round++) {
          const { ms } = await model.run({ pixel_values: { data: pixels, dims: [batch, 3, side, side] } }, ["image_embeds"]);
          if (round >= 0) times.push(ms / batch);
        }
        measured.push({ threads: count, batch, msPerTile: times.sort((a, b) => a - b)[Math.floor(rounds / 2)] as number });
      }
    } finally {
      await model.close();
    }
  }
  return { best: measured.reduce((a, b) => (b.msPerTile < a.msPerTile ? b : a)), measured };
}

function powersUpTo(cores: number): number[] {
  const powers = [1, 2, 4, 8, 16, 32].filter((count) => count < cores);
  return [...powers, cores];
}
