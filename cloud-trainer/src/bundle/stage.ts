/**
 * Turns a model and words into a bundle's files: both graphs, the words' embeddings, thresholds, golden images.
 * In: the weights' folder, words, pictures to prove a device by. Out: files in `outDir` and what the manifest says of them.
 * Golden scores are measured by the very inspector that a device runs, on the very files that it will be sent.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { startInspector } from "@kenpin/inspector";
import { nearestGraph, visionGraph } from "@kenpin/onnx";
import type { Golden, PartWords } from "@kenpin/schema";
import { preprocessOf, readWeightsFolder } from "../weights-folder.ts";
import { embedWords, textTowerFiles, withTextModel } from "./embed-words.ts";
import type { StagedManifest } from "./staged.ts";

type GoldenPicture = { file: string; png: Uint8Array };
export type StageOptions = {
  modelDir: string;
  words: PartWords;
  golden: readonly GoldenPicture[];
  outDir: string;
  /** A graph of the same model in fewer bits, to be shipped in place of the float one. */
  int8Graph?: string;
};

/** Other processors sum in another order; another model is off by far more. */
const GOLDEN_TOLERANCE = 0.02;
const MIN_AGENT_VERSION = "0.1.0";

export async function stageBundle({ modelDir, words, golden, outDir, int8Graph }: StageOptions): Promise<StagedManifest> {
  const weights = await readWeightsFolder(modelDir);
  const { config, tensors, tokenLayers, thresholds, card, scoring } = weights;
  const write = async (name: string, data: string | Uint8Array) => {
    await mkdir(dirname(join(outDir, name)), { recursive: true });
    await writeFile(join(outDir, name), data);
  };
  const float = () => visionGraph({ config, weights: tensors, layers: tokenLayers, flavour: "ort" });
  await write("vision.onnx", int8Graph ? await readFile(int8Graph) : float());
  await write("nearest.onnx", nearestGraph(tokenLayers.length * config.image.width));
  const prompts = await withTextModel(weights, (textModel) => embedWords(weights, words, textModel));
  await write("prompts.json", JSON.stringify(prompts));
  if (words.withText) for (const [name, data] of textTowerFiles(weights)) await write(name, data);
  await write("thresholds.json", `${JSON.stringify(thresholds, null, 2)}\n`);
  await write("card.json", `${JSON.stringify(card, null, 2)}\n`);
  for (const { file, png } of golden) await write(file, png);
  const precision = int8Graph ? ("int8" as const) : ("fp32" as const);
  const decides = { precision, preprocess: preprocessOf(weights), scoring };
  return {
    ...decides,
    minAgentVersion: MIN_AGENT_VERSION,
    parameters: [...tensors.values()].reduce((sum, { data }) => sum + data.length, 0),
    golden: await scoreGolden(outDir, decides, golden),
    provenance: card.provenance.map((row, i) => ({ ...row, ...(i === 0 && { sha256: weights.sha256 }) })),
  };
}

/** An inspector reads a manifest, which cannot be whole before the scores are in it: it gets the part that decides. */
async function scoreGolden(
  outDir: string,
  decides: Pick<StagedManifest, "precision" | "preprocess" | "scoring">,
  golden: readonly GoldenPicture[],
): Promise<Golden[]> {
  const manifest = join(outDir, "manifest.json");
  await writeFile(manifest, JSON.stringify(decides));
  const inspector = await startInspector({ bundleDir: outDir });
  try {
    const scored: Golden[] = [];
    for (const { file, png } of golden) {
      const { inspection } = await inspector.inspect(png);
      scored.push({ file, score: inspection.score, tolerance: GOLDEN_TOLERANCE });
    }
    return scored;
  } finally {
    await inspector.close();
    await rm(manifest);
  }
}
