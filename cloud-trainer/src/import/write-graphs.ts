/**
 * Writes a model's two graphs as files, tensor by tensor: from a checkpoint, or from another folder's graphs of the same
 * model. Memory holds one tensor at a time and what the graph makes of it.
 */
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { ModelConfig } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { type Model, type ModelBytes, openPrepared, type ReadTensor, textModel, visionModel } from "@kenpin/onnx";
import { openFile } from "../files.ts";
import type { ModelCard } from "./model-folder.ts";

export type GraphOptions = ModelCard["graph"];
type Tower = "vision" | "text";
const TOWERS: Tower[] = ["vision", "text"];

/** `limitBytes` is protobuf's by default; a smaller one puts the weights of a small model beside it too. */
export async function writeFromCheckpoint(
  dir: string,
  { config, graph, read, limitBytes }: { config: ModelConfig; graph: GraphOptions; read: ReadTensor; limitBytes?: number },
): Promise<void> {
  for (const tower of TOWERS) await writeTower(dir, tower, drawTower(tower, config, graph).stream(read, `${tower}.data`, limitBytes));
}

export async function writeFromFolder(
  dir: string,
  { config, graph, from, limitBytes }: { config: ModelConfig; graph: GraphOptions; from: string; limitBytes?: number },
): Promise<void> {
  for (const tower of TOWERS) {
    const opened = [await openFile(join(from, `${tower}.onnx`))];
    try {
      const read = await openPrepared((opened[0] as (typeof opened)[0]).source, async (name) => {
        const beside = await openFile(join(from, name));
        opened.push(beside);
        return beside.source;
      });
      await writeTower(dir, tower, drawTower(tower, config, graph).streamPrepared(read, `${tower}.data`, limitBytes));
    } finally {
      for (const { close } of opened) await close();
    }
  }
}

function drawTower(tower: Tower, config: ModelConfig, { flavour, patchEmbeds, layers }: GraphOptions): Model {
  const outside = layers.find((layer) => layer >= config.image.depth);
  if (outside !== undefined)
    throw new KenpinError("unknown-layer", `${config.name} has blocks 0 to ${config.image.depth - 1}; block ${outside} was asked for`);
  return tower === "vision" ? visionModel({ config, layers, patchEmbeds, flavour }) : textModel({ config, flavour });
}

async function writeTower(dir: string, tower: Tower, pieces: AsyncGenerator<ModelBytes>): Promise<void> {
  const files = new Map<ModelBytes["file"], FileHandle>();
  try {
    for await (const { file, bytes } of pieces) {
      const handle = files.get(file) ?? (await open(join(dir, file === "model" ? `${tower}.onnx` : `${tower}.data`), "w"));
      files.set(file, handle);
      await writeAll(handle, bytes);
    }
  } finally {
    for (const handle of files.values()) await handle.close();
  }
}

/** A write may take less than it was given. */
async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let done = 0;
  while (done < bytes.length) done += (await handle.write(bytes, done)).bytesWritten;
}
