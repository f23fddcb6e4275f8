/**
 * How fast an image tower is on one provider with so many threads, for several numbers of tiles at once, and which provider
 * really did the work. Runs inside the worker, so that no pipe counts. The budget bounds it: one round of the first batch is always
 * measured, and what there is no time left for is left out.
 */
import type { Provider } from "@kenpin/schema";
import type { Opening, Progress } from "./protocol.ts";
import { type ModelFile, openModel, type PassedOver, type RanOn, type Runtime } from "./runtime.ts";
import { towerShapes } from "./tile-batches.ts";

export type Measurement = {
  provider: Provider;
  passedOver: PassedOver[];
  ranOn: RanOn;
  openMs: number;
  times: { batch: number; msPerTile: number }[];
};
type Measuring = Opening & { model: string; side: number; maxTiles: number; batches: readonly number[]; budgetMs: number };

/** Median of so many, after one that warms caches and memory plans. */
const ROUNDS = 7;

export async function measureModel(
  runtime: Runtime,
  { model: file, side, maxTiles, batches, budgetMs, providers, threads, gpuMemoryMb, engineDir }: Measuring,
  onStep: (progress: Progress) => void,
): Promise<Measurement> {
  const began = performance.now();
  const opening = { providers, threads, gpuMemoryMb, engineDir };
  const shapes = towerShapes(side, maxTiles);
  const feed = (batch: number) => ({ pixel_values: { data: tiles(batch, side), dims: [batch, 3, side, side] } });
  const asked = { file, what: file, opening, shapes, firstRun: feed(batches[0] as number), onStep };
  const opened = await openModel(runtime, asked);
  const openMs = performance.now() - began;
  const { provider, passedOver } = opened;
  const times: Measurement["times"] = [];
  const started = performance.now();
  const left = () => budgetMs - (performance.now() - started);
  for (const batch of batches) {
    const last = times.at(-1);
    if (last && 2 * last.msPerTile * batch > left()) continue;
    onStep({ step: "measure", provider, mayTakeMs: 600_000 });
    const input = feed(batch);
    const taken: number[] = [];
    for (let round = -1; round < ROUNDS && (round <= 0 || left() > 0); round++) {
      const from = performance.now();
      await opened.run(input, ["image_embeds"]);
      if (round >= 0) taken.push(performance.now() - from);
    }
    times.push({ batch, msPerTile: (taken.sort((a, b) => a - b)[taken.length >> 1] as number) / batch });
  }
  await opened.release();
  return { provider, passedOver, ranOn: await whereItRan(runtime, provider, asked), openMs, times };
}

/** By a profile, which slows what it watches: after the times are taken. The CPU leaves nothing to anybody. */
async function whereItRan(runtime: Runtime, provider: Provider, asked: ModelFile): Promise<RanOn> {
  if (provider === "cpu") return { cpu: 1 };
  const profiled = await openModel(runtime, { ...asked, opening: { ...asked.opening, providers: [provider] }, profile: true });
  return profiled.release();
}

/** Numbers like a normalised picture's. */
function tiles(batch: number, side: number): Float32Array {
  return Float32Array.from({ length: batch * 3 * side * side }, (_, i) => Math.sin(i * 0.7) * 2);
}
