/**
 * What the teacher sees, stored once beside the run (MobileCLIP's dataset reinforcement, arXiv 2311.17049): for each view
 * its image_embeds and patch_embeds, for each caption its text_embeds. A run that resumes reads them back; a file made of
 * other views or by another teacher is made anew.
 *
 *   teacher.safetensors   image_embeds [V, D], patch_embeds [V, P, D], text_embeds [T, D], all float16; metadata: key
 */
import { createWriteStream } from "node:fs";
import { readFile, rename } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { bytesSource, openSafetensors, safetensorsStream } from "@kenpin/clip";

/** Row by row; lengths are 1. */
export type TeacherEmbeds = { dim: number; imageEmbeds: Float32Array; patchEmbeds: Float32Array; textEmbeds: Float32Array };

export type StoreOptions = {
  file: string;
  /** Says what the embeddings were made of: digests of teacher, data, captions. */
  key: string;
  views: number;
  patches: number;
  embed: () => Promise<TeacherEmbeds>;
};

export async function storedTeacherEmbeds({ file, key, views, patches, embed }: StoreOptions): Promise<TeacherEmbeds> {
  const kept = await read(file, key);
  if (kept) return kept;
  const fresh = await embed();
  const { dim } = fresh;
  const rows: Record<string, { shape: number[]; data: Float32Array }> = {
    image_embeds: { shape: [views, dim], data: fresh.imageEmbeds },
    patch_embeds: { shape: [views, patches, dim], data: fresh.patchEmbeds },
    text_embeds: { shape: [fresh.textEmbeds.length / dim, dim], data: fresh.textEmbeds },
  };
  const shapes = new Map(Object.entries(rows).map(([name, { shape }]) => [name, shape]));
  const stream = safetensorsStream({
    shapes,
    read: async (name) => (rows[name] as { data: Float32Array }).data,
    format: "F16",
    metadata: { key },
  });
  await pipeline(stream, createWriteStream(`${file}.part`, { flush: true }));
  await rename(`${file}.part`, file);
  // Read back, so that a run that resumes learns from the very same numbers as one that did not stop.
  return (await read(file, key)) ?? fresh;
}

async function read(file: string, key: string): Promise<TeacherEmbeds | null> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch {
    return null;
  }
  try {
    const checkpoint = await openSafetensors(bytesSource(bytes));
    if (checkpoint.metadata["key"] !== key) return null;
    const [imageEmbeds, patchEmbeds, textEmbeds] = [
      await checkpoint.tensor("image_embeds"),
      await checkpoint.tensor("patch_embeds"),
      await checkpoint.tensor("text_embeds"),
    ];
    return { dim: checkpoint.shape("image_embeds")[1] as number, imageEmbeds, patchEmbeds, textEmbeds };
  } catch {
    return null; // cut short by a power failure: made anew
  }
}
