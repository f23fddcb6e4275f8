/**
 * Inspects pictures with a model folder and words alone, before anything was trained, signed or rolled out.
 * In: a model folder, words for good and bad parts, frames. Out: one Inspection each, by the very worker that a line
 * computer runs. Scores are not calibrated: compare them with each other, not with a threshold.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startInspector } from "@kenpin/inspector";
import { nearestGraph } from "@kenpin/onnx";
import { KenpinError, PromptSet } from "@kenpin/schema";
import { embedStrings, readImageFile } from "./embed.ts";
import type { ModelFolder } from "./model-folder.ts";
import { preprocessOf, START_SCORING } from "./start-scoring.ts";

export type Words = { good: string[]; bad: string[] };
type InspectorOf = Awaited<ReturnType<typeof startInspector>>;
export type InspectedFile = { file: string; inspection: Awaited<ReturnType<InspectorOf["inspect"]>>["inspection"] };

export async function* inspectFiles(model: ModelFolder, words: Words, files: string[], timeoutMs: number): AsyncGenerator<InspectedFile> {
  if (!model.card.graph.patchEmbeds) {
    throw new KenpinError("no-patch-embeds", "this model was written without patch embeddings, which regions need; export it with them");
  }
  const stage = await mkdtemp(join(tmpdir(), "kenpin-inspect-"));
  try {
    await stageFiles(stage, model, words);
    const inspector = await startInspector({ bundleDir: stage, timeoutMs });
    try {
      for (const file of files) yield { file, inspection: (await inspector.inspect(await readImageFile(file))).inspection };
    } finally {
      await inspector.close();
    }
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/** What the worker opens, without signature or thresholds: nothing of this leaves the machine. */
async function stageFiles(stage: string, model: ModelFolder, words: Words): Promise<void> {
  const manifest = { precision: "fp32", preprocess: preprocessOf(model.config), scoring: START_SCORING };
  await writeFile(join(stage, "manifest.json"), JSON.stringify(manifest));
  await writeFile(join(stage, "prompts.json"), JSON.stringify(await promptSet(model, words)));
  await writeFile(join(stage, "nearest.onnx"), nearestGraph(1));
  for (const name of ["vision.onnx", "vision.data"]) await linkIfThere(resolve(model.dir, name), join(stage, name));
}

async function promptSet(model: ModelFolder, { good, bad }: Words): Promise<PromptSet> {
  const rows = await embedStrings(model, [...good, ...bad]);
  const embeddings = rows.flatMap(({ embedding }) => embedding);
  return PromptSet.parse({ schemaVersion: 1, good, bad, dim: model.config.embedDim, embeddings, logitScale: model.card.logitScale });
}

async function linkIfThere(from: string, to: string): Promise<void> {
  if (existsSync(from)) await symlink(from, to);
}
