/**
 * What a run starts from: a weights' folder, or a configuration drawn afresh, its towers taken from files where the recipe
 * names them. Everything is read from this machine's files; nothing is fetched while a run goes on.
 */
import { basename } from "node:path";
import { fitTower, modelConfig, type Tensor, tensorShapes, type TowerFile } from "@kenpin/clip";
import { KenpinError, type Recipe } from "@kenpin/schema";
import { openCheckpoint } from "../import/checkpoint-file.ts";
import { sha256Of } from "../files.ts";
import { startScoringFile } from "../import/start-scoring.ts";
import { drawTensors } from "../train/engines/tfjs/weights.ts";
import { readWeightsFolder, ScoringFile } from "../weights-folder.ts";
import type { Model } from "./stage-context.ts";

export async function startOf({ start, seed }: Pick<Recipe, "start" | "seed">): Promise<Model> {
  if (start.weights !== undefined) return readWeightsFolder(start.weights);
  const config = modelConfig(start.model as string);
  const model: Model = {
    config,
    tensors: drawTensors(config, seed),
    ...ScoringFile.parse(startScoringFile(config)),
    card: {
      name: config.name,
      provenance: [
        { name: config.name, licence: "as its data", source: `drawn at random by seed ${seed}, then trained as the recipe says` },
      ],
    },
  };
  const { image, text } = start;
  if (image) await takeTower(model, image, { tower: "image", kind: image.kind });
  if (text) await takeTower(model, text, { tower: "text" });
  return model;
}

/** Puts a tower's tensors in place and its origin, licence and digests on record. */
async function takeTower(model: Model, { file, licence }: { file: string; licence: string }, tower: TowerFile): Promise<void> {
  const { config, tensors, card } = model;
  const shapes = tensorShapes(config);
  const { checkpoint, files, close } = await openCheckpoint(file);
  try {
    const fitted = fitTower(checkpoint, config, tower);
    for (const name of fitted.names) {
      const tensor: Tensor = { shape: shapes.get(name) as number[], data: await fitted.tensor(name) };
      tensors.set(name, tensor);
    }
    const digests = await Promise.all(files.map(async (path) => `${basename(path)} sha256 ${(await sha256Of(path)).sha256}`));
    const kind =
      tower.tower === "image" ? `image tower, ${tower.kind === "clip" ? "of a CLIP" : "from masked image modelling"}` : "text tower";
    const notes = [...fitted.changes, ...(fitted.fresh.length > 0 ? [`${fitted.fresh.length} tensors drawn afresh`] : [])];
    card.provenance.push({ name: `${config.name} ${kind}`, licence, source: [digests.join(", "), ...notes].join("; ").slice(0, 500) });
  } catch (error) {
    if (error instanceof KenpinError) throw new KenpinError(error.code, `${file}: ${error.message}`, { cause: error });
    throw error;
  } finally {
    await close();
  }
}
