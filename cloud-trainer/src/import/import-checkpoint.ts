/**
 * A published checkpoint becomes a model folder: names and shapes checked, sizes fitted, both graphs written, the card signed
 * with the digest of every file read.
 * In: a checkpoint's path and a configuration. Out: the folder, whole or not at all.
 */
import { basename, dirname, join } from "node:path";
import { readFile } from "node:fs/promises";
import { fitCheckpoint, type ModelConfig, tensorShapes } from "@kenpin/clip";
import { errorLine, KenpinError, parseAtDoor } from "@kenpin/schema";
import { openCheckpoint } from "./checkpoint-file.ts";
import { sha256Of, wholeFolder } from "../files.ts";
import { type ModelCard, writeDescription, writeWeights } from "./model-folder.ts";
import { PulledFiles, PULLED_FILE } from "./pulled.ts";
import { type GraphOptions, writeFromCheckpoint } from "./write-graphs.ts";

export type ImportOptions = {
  checkpoint: string;
  config: ModelConfig;
  out: string;
  graph: GraphOptions;
  /** Also writes model.safetensors and scoring.json, to train on and to make bundles of. */
  weights?: boolean;
  /** Overrides what `kenpin pull` recorded. */
  licence?: string | undefined;
  limitBytes?: number;
};

export async function importCheckpoint({
  checkpoint: path,
  config,
  out,
  graph,
  weights = false,
  licence,
  limitBytes,
}: ImportOptions): Promise<ModelCard> {
  const { checkpoint, files, close } = await openCheckpoint(path);
  try {
    const fitted = fitCheckpoint(checkpoint, config);
    const pulled = await readPulled(dirname(files[0] as string));
    let card: ModelCard | null = null;
    await wholeFolder(out, async (folder) => {
      await writeFromCheckpoint(folder, { config, graph, read: fitted.tensor, ...(limitBytes !== undefined && { limitBytes }) });
      if (weights) await writeWeights(folder, config, fitted.tensor);
      const digests = [];
      for (const file of files) digests.push({ name: basename(file), ...(await sha256Of(file)) });
      card = {
        format: 1,
        name: config.name,
        parameters: parametersOf(config),
        logitScale: Math.exp((await fitted.tensor("logit_scale"))[0] as number),
        provenance: [
          {
            name: config.name,
            licence: licence ?? pulled?.licence ?? "not recorded",
            source: pulled ? `${pulled.id}@${pulled.revision}` : basename(path),
          },
        ],
        graph,
        checkpoint: {
          format: checkpoint.format,
          naming: fitted.naming,
          stored: [...new Set(checkpoint.names.map(checkpoint.stored))].sort(),
          changes: fitted.changes,
          files: digests,
        },
      };
      await writeDescription(folder, config, card);
    });
    return card as unknown as ModelCard;
  } finally {
    await close();
  }
}

function parametersOf(config: ModelConfig): number {
  let count = 0;
  for (const shape of tensorShapes(config).values()) count += shape.reduce((size, n) => size * n, 1);
  return count;
}

/** What `kenpin pull` left beside the checkpoint, if it did. */
async function readPulled(dir: string): Promise<PulledFiles | null> {
  const file = join(dir, PULLED_FILE);
  const text = await readFile(file, "utf8").catch(() => null);
  if (text === null) return null;
  try {
    return parseAtDoor(PulledFiles, JSON.parse(text), file);
  } catch (error) {
    throw new KenpinError("pulled-unreadable", `${errorLine(error)}; pull again, or remove ${file} and give --licence`, { cause: error });
  }
}
