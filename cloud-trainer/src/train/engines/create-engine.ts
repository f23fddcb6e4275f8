/**
 * The engine a recipe names, loaded when it is wanted: `tfjs` trains in this process, on this machine's processor; `torch`
 * drives Python processes, on GPUs where there are any.
 */
import type { Recipe } from "@kenpin/schema";
import type { Engine } from "./engine.ts";
import type { Nodes } from "./torch/process.ts";

export async function createEngine(
  { engine, torch }: Pick<Recipe, "engine" | "torch">,
  { gpus, nodes }: { gpus: number | null; nodes: Nodes | undefined },
): Promise<Engine> {
  if (engine === "torch") {
    const { createTorchEngine } = await import("./torch/engine.ts");
    return createTorchEngine({ gpus, nodes, ...torch });
  }
  const [masked, contrastive, tune, distill] = await Promise.all([
    import("./tfjs/masked-modelling.ts"),
    import("./tfjs/contrastive.ts"),
    import("./tfjs/tune.ts"),
    import("./tfjs/distill.ts"),
  ]);
  const { trainMasked } = masked;
  return {
    trainMasked,
    trainContrastive: contrastive.trainContrastive,
    trainTune: tune.trainTune,
    trainDistill: distill.trainDistill,
    storesTeacher: true,
    readsShards: false,
  };
}
