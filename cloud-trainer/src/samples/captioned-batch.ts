/**
 * Batches for contrastive training: pictures, their distinct captions, and which pairs are true. A draw's number alone
 * decides what is in it.
 *
 * Generated surfaces know every caption that is true of them, and their masks; a captioned set knows its own captions only.
 * In a batch of both, nobody can say whether a caption of one kind is true of a picture of the other: such pairs are blocked.
 */
import type { ModelConfig } from "@kenpin/clip";
import { randomAt } from "@kenpin/stats";
import { captionsOf, picturesOf, type Relations, type Stored, table } from "./batch.ts";
import { shuffledEpochs } from "./epochs.ts";
import { keptPatches } from "./patch-masks.ts";

/** What the stage `train` takes; shapes as there: [B, 3, S, S], T captions, [B, K], [B·K]. */
export type CaptionedBatch = {
  pixelValues: Float32Array;
  size: number;
  captions: string[];
  relations: Relations;
  kept: Int32Array | null;
  patches: { targets: Float32Array; weights: Float32Array } | null;
};
export type CaptionedSource = (draw: number, count: number) => CaptionedBatch | Promise<CaptionedBatch>;

export function surfaceSource(pool: readonly Stored[], config: ModelConfig, seed: number): CaptionedSource {
  const surfaceAt = shuffledEpochs(pool.length, seed);
  return (draw, count) => {
    const random = randomAt(seed, draw);
    const drawn = Array.from({ length: count }, (_, i) => pool[surfaceAt(draw * count + i)] as Stored);
    const { pixelValues, size, patchTargets, patchWeights } = picturesOf(drawn, config, random);
    const patches = { targets: patchTargets, weights: patchWeights };
    return { pixelValues, size, ...captionsOf(drawn, random), kept: null, patches };
  };
}

/** A picture ready for the tower, and everything that is said of it. */
export type Captioned = { pixelValues: (draw: number) => Promise<Float32Array>; captions: readonly string[] };

export function captionedSetSource(pictures: readonly Captioned[], config: ModelConfig, seed: number): CaptionedSource {
  const pictureAt = shuffledEpochs(pictures.length, seed);
  const length = 3 * config.image.size ** 2;
  return async (draw, count) => {
    const random = randomAt(seed, draw);
    const drawn = Array.from({ length: count }, (_, i) => pictures[pictureAt(draw * count + i)] as Captioned);
    const own = drawn.map(({ captions }) => random.pick(captions));
    const captions = [...new Set(own)];
    const pixelValues = new Float32Array(count * length);
    for (const [i, picture] of drawn.entries()) pixelValues.set(await picture.pixelValues(draw * count + i), i * length);
    const relations: Relations = (rows, columns) =>
      table(rows, columns, (i, j) => {
        const caption = captions[j] as string;
        if (own[i] === caption) return "positive";
        return (drawn[i] as Captioned).captions.includes(caption) ? "blocked" : null;
      });
    return { pixelValues, size: count, captions, relations, kept: null, patches: null };
  };
}

export type CaptionedOptions = {
  config: ModelConfig;
  size: number;
  /** Share of patches that are dropped, until `unmaskedTail` of the run is left. */
  dropout: { ratio: number; unmaskedTail: number };
  seed: number;
};

/** Batches of one source, or of two in equal parts. `progress` is the share of the run that has passed. */
export function captionedBatches(sources: readonly CaptionedSource[], { config, size, dropout, seed }: CaptionedOptions) {
  const [first, second] = sources as [CaptionedSource, CaptionedSource?];
  const patches = (config.image.size / config.image.patch) ** 2;
  return async (draw: number, progress: number): Promise<CaptionedBatch> => {
    const whole = second
      ? joinBatches(await first(draw, Math.ceil(size / 2)), await second(draw, Math.floor(size / 2)), patches)
      : await first(draw, size);
    const drops = dropout.ratio > 0 && progress < 1 - dropout.unmaskedTail;
    return drops ? dropPatches(whole, patches, dropout.ratio, randomAt(seed + 1, draw)) : whole;
  };
}

function dropPatches(batch: CaptionedBatch, patches: number, ratio: number, random: ReturnType<typeof randomAt>): CaptionedBatch {
  const rows = Array.from({ length: batch.size }, () => keptPatches(patches, ratio, random));
  const stay = rows[0]?.length ?? patches;
  if (stay === patches) return batch;
  const kept = new Int32Array(batch.size * stay);
  for (const [i, row] of rows.entries()) kept.set(row as Int32Array, i * stay);
  const pick = (all: Float32Array) => Float32Array.from(kept, (patch, at) => all[Math.floor(at / stay) * patches + patch] as number);
  const known = batch.patches && { targets: pick(batch.patches.targets), weights: pick(batch.patches.weights) };
  return { ...batch, kept, patches: known };
}

/** Two batches as one: all pairs across are blocked, and patches without a mask weigh nothing. */
export function joinBatches(a: CaptionedBatch, b: CaptionedBatch, patches: number): CaptionedBatch {
  const captions = [...a.captions, ...b.captions];
  const size = a.size + b.size;
  const relations: Relations = (rows, columns) =>
    table(rows, columns, (i, j) => {
      const [left, top] = [i < a.size, j < a.captions.length];
      if (left !== top) return "blocked";
      return left ? one(a, i, j) : one(b, i - a.size, j - a.captions.length);
    });
  const none = (batch: CaptionedBatch) => batch.patches ?? { targets: zeros(batch.size * patches), weights: zeros(batch.size * patches) };
  const [left, right] = [none(a), none(b)];
  return {
    pixelValues: chained(a.pixelValues, b.pixelValues),
    size,
    captions,
    relations,
    kept: null,
    patches:
      a.patches || b.patches ? { targets: chained(left.targets, right.targets), weights: chained(left.weights, right.weights) } : null,
  };
}

function one({ relations }: CaptionedBatch, i: number, j: number): "positive" | "blocked" | null {
  const { positive, blocked } = relations({ from: i, to: i + 1 }, { from: j, to: j + 1 });
  if (positive[0] === 1) return "positive";
  return blocked[0] === 1 ? "blocked" : null;
}

function zeros(length: number): Float32Array {
  return new Float32Array(length);
}

function chained(a: Float32Array, b: Float32Array): Float32Array {
  const out = new Float32Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
