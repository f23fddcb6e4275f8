/**
 * What a student learns from: a fixed number of views of each picture, each view the same whenever it is asked for, so that
 * a teacher's embeddings of it can be stored once. Generated surfaces bring a caption; frames have none.
 */
import { createHash } from "node:crypto";
import type { ModelConfig } from "@kenpin/clip";
import { createRandom, randomAt } from "@kenpin/stats";
import { shuffledEpochs } from "./epochs.ts";
import { type Caption, captionOf, isTrueOf } from "./generate.ts";
import { type ViewSource, viewsOf } from "./views.ts";

export type DistillSet = ReturnType<typeof distillSet>;

export function distillSet(source: ViewSource, { views, seed }: { views: number; seed: number }) {
  const pictures = source.frames.length + source.surfaces.length;
  const count = pictures * views;
  const random = createRandom(seed);
  const own = source.surfaces.map((surface) => captionOf(surface, random));
  const distinct = [...new Map(own.map((caption) => [caption.text, caption])).values()];
  const columnOf = new Map(distinct.map(({ text }, i) => [text, i]));
  const captionAt = (view: number): number => {
    const caption = own[(view % pictures) - source.frames.length];
    return caption ? (columnOf.get(caption.text) as number) : -1;
  };
  return {
    count,
    captions: distinct.map(({ text }) => text),
    /** [n, 3, S, S] of the views numbered so. */
    pixelValues: (numbers: readonly number[]): Float32Array =>
      viewsOf(
        source,
        numbers.map((view) => view % pictures),
        (i) => randomAt(seed, numbers[i] as number),
      ),
    captionAt,
    /** Whether the caption in that column is true of the view's picture; never of a frame, of which nothing is said. */
    isTrue: (view: number, column: number): boolean => {
      const surface = source.surfaces[(view % pictures) - source.frames.length];
      return surface !== undefined && isTrueOf(distinct[column] as Caption, surface);
    },
    /** Says which views these are: seed, number, and every picture's bytes. */
    digest: (): string => {
      const hash = createHash("sha256").update(
        JSON.stringify({ views, seed, turn: source.turn, defects: source.defects, config: source.config.image }),
      );
      for (const { data } of source.frames) hash.update(data);
      for (const { rgb } of source.surfaces) hash.update(rgb);
      return hash.digest("hex");
    },
  };
}

/** The teacher's rows for every view: [V, D], [V·P, D], and for every caption [T, D]. */
const NOTHING: Embeds = { dim: 0, imageEmbeds: new Float32Array(), patchEmbeds: new Float32Array(), textEmbeds: new Float32Array() };
type Embeds = { dim: number; imageEmbeds: Float32Array; patchEmbeds: Float32Array; textEmbeds: Float32Array };

/** Without stored embeddings the teacher's rows are empty: it looks at each batch itself. */
export function distillBatches(
  set: DistillSet,
  embeds: Embeds | null,
  { config, size, seed }: { config: ModelConfig; size: number; seed: number },
) {
  const viewAt = shuffledEpochs(set.count, seed);
  const patches = (config.image.size / config.image.patch) ** 2;
  const { dim, imageEmbeds, patchEmbeds, textEmbeds } = embeds ?? NOTHING;
  return (draw: number) => {
    const views = Array.from({ length: size }, (_, i) => viewAt(draw * size + i));
    const columns = [...new Set(views.map(set.captionAt))].filter((column) => column >= 0);
    const table = (isTrue: (view: number, column: number) => boolean) =>
      Float32Array.from({ length: size * columns.length }, (_, at) =>
        Number(isTrue(views[Math.floor(at / columns.length)] as number, columns[at % columns.length] as number)),
      );
    const unsaid = (view: number) => set.captionAt(view) < 0;
    return {
      size,
      pixelValues: set.pixelValues(views),
      imageEmbeds: rowsOf(imageEmbeds, views, dim),
      patchEmbeds: rowsOf(patchEmbeds, views, patches * dim),
      captionEmbeds: rowsOf(textEmbeds, columns, dim),
      captions: columns.map((column) => set.captions[column] as string),
      positive: table((view, column) => set.captionAt(view) === column),
      blocked: table((view, column) => unsaid(view) || (set.captionAt(view) !== column && set.isTrue(view, column))),
    };
  };
}

function rowsOf(all: Float32Array, rows: readonly number[], length: number): Float32Array {
  const out = new Float32Array(rows.length * length);
  for (const [i, row] of rows.entries()) out.set(all.subarray(row * length, (row + 1) * length), i * length);
  return out;
}
