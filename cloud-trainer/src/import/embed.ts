/**
 * Embeddings of pictures and texts by a model folder, as the published model gives them: rows of length 1.
 * The runtime lives in a worker of its own, see @kenpin/inspector.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { clipPixels, createTokenizer, decodeForClip, type ModelConfig } from "@kenpin/clip";
import { embedImages, embedTexts } from "@kenpin/inspector";
import { KenpinError } from "@kenpin/schema";
import type { ModelFolder } from "./model-folder.ts";

export type Embedding = { input: string; embedding: number[] };

/** A photograph of 100 MB is a mistake or an attack. */
const IMAGE_LIMIT_BYTES = 100 * 1024 * 1024;

export async function embedImageFiles({ dir, config }: ModelFolder, files: string[]): Promise<Embedding[]> {
  const out: Embedding[] = [];
  const rows = embedImages({ visionModel: join(dir, "vision.onnx"), side: config.image.size, pixelValues: pixelsOf(files, config) });
  for await (const row of rows) out.push({ input: files[out.length] as string, embedding: [...row] });
  return out;
}

export async function embedStrings({ dir, config }: ModelFolder, texts: string[]): Promise<Embedding[]> {
  const { encode } = createTokenizer(config.text);
  const rows = await embedTexts({ textModel: join(dir, "text.onnx"), inputIds: texts.map(encode) });
  return texts.map((input, i) => ({ input, embedding: [...(rows[i] as Float32Array)] }));
}

export async function readImageFile(file: string): Promise<Uint8Array> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new KenpinError("file-unreadable", `${file} cannot be read (${error.code}); check the path`, { cause: error });
  });
  if (bytes.length > IMAGE_LIMIT_BYTES)
    throw new KenpinError("image-too-large", `${file} has ${bytes.length} bytes; at most ${IMAGE_LIMIT_BYTES} are read`);
  return bytes;
}

async function* pixelsOf(files: string[], config: ModelConfig): AsyncGenerator<Float32Array> {
  for (const file of files) {
    const bytes = await readImageFile(file);
    try {
      yield clipPixels(await decodeForClip(bytes), config);
    } catch (error) {
      throw error instanceof KenpinError ? new KenpinError(error.code, `${file}: ${error.message}`, { cause: error }) : error;
    }
  }
}
