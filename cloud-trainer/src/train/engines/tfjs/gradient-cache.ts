/**
 * The exact gradient of a contrastive batch of any size, in the memory of one micro-batch: GradCache (Gao et al. 2021,
 * arXiv 2101.06983).
 *   1. embed every micro-batch without keeping what a backward pass would need
 *   2. loss of the whole batch, tile by tile (tiled-loss.ts)
 *   3. embed every micro-batch again, now for its gradient: L' = Σ embedding · (gradient of the whole loss by it) has the same
 *      gradient by the weights as the whole loss. GradCache keeps the gradients by all embeddings too; here each tile's are
 *      worked out when its micro-batches come, so that the embeddings are all that grows with the batch.
 * In: a function that embeds micro-batch `index`; it is called twice with each, and must answer the same both times, so what is
 * random in it (patch dropout, augmentation) is part of the micro-batch's data. Out: loss and gradients, as of one batch.
 */
import type { Scalar } from "@tensorflow/tfjs-core";
import type { Tensor, Tensor2D, Tf, Variable } from "./backend.ts";
import type { Weights } from "./layers.ts";
import type { LossAndGradients } from "./objective.ts";
import { type LossInTiles, lossInTiles, type Relations } from "./tiled-loss.ts";

export type MicroBatch = {
  /** Embeddings of length 1, [b, D] and [t, D]; null where this micro-batch has none of them. */
  image: Tensor2D | null;
  text: Tensor2D | null;
  /** What the micro-batch adds to the loss on its own, e.g. its patches; asked only when gradients are due. */
  local?: () => Tensor;
};

export type CachedBatch = {
  microBatches: number;
  embed: (index: number) => MicroBatch;
  /** Rows and columns are counted over all images and all texts, in the order of the micro-batches. */
  relations: Relations;
  kind: "infonce" | "sigmoid";
  /** exp(logit_scale), and SigLIP's bias, from the weights. */
  scale: () => Tensor;
  bias?: () => Tensor;
  /** Rows and columns of a tile, at least; tiles are whole micro-batches. */
  tileRows?: number;
};

const TILE_ROWS = 1024;

export function cachedGradients(tf: Tf, weights: Weights, batch: CachedBatch): LossAndGradients {
  const cached = embedAll(tf, batch);
  const numbers = { scale: numberOf(tf, batch.scale), bias: batch.bias ? numberOf(tf, batch.bias) : 0 };
  const { kind, relations } = batch;
  const whole = lossInTiles(tf, { kind, relations, images: cached.images.tiles, texts: cached.texts.tiles, ...numbers });
  const { gradients, local } = replay(tf, weights, batch, { cached, whole });
  whole.dispose();
  tf.dispose([...cached.images.tiles, ...cached.texts.tiles]);
  const parts = { contrast: tf.scalar(whole.loss), ...(local === null ? {} : { local: tf.scalar(local) }) };
  return { loss: tf.scalar(whole.loss + (local ?? 0)), gradients, parts };
}

/** Where each micro-batch's rows went: `place[index]` is null where it has none. */
type Side = { tiles: Tensor2D[]; places: (Place | null)[] };
type Place = { tile: number; from: number; rows: number };
type Cached = { images: Side; texts: Side };

function embedAll(tf: Tf, { microBatches, embed, tileRows = TILE_ROWS }: CachedBatch): Cached {
  const [images, texts] = [tileBuilder(tf, tileRows), tileBuilder(tf, tileRows)];
  for (let index = 0; index < microBatches; index++) {
    let [image, text] = [null, null] as (Tensor2D | null)[];
    tf.tidy(() => {
      const made = embed(index);
      // clones, so that an encoder may answer with embeddings it keeps
      image = made.image && tf.keep(tf.clone(made.image));
      text = made.text && tf.keep(tf.clone(made.text));
    });
    images.add(image ?? null);
    texts.add(text ?? null);
  }
  return { images: images.finish(), texts: texts.finish() };
}

function tileBuilder(tf: Tf, tileRows: number): { add: (rows: Tensor2D | null) => void; finish: () => Side } {
  const side: Side = { tiles: [], places: [] };
  let [pending, filled] = [[] as Tensor2D[], 0];
  const close = () => {
    if (pending.length === 0) return;
    side.tiles.push(tf.concat(pending, 0));
    tf.dispose(pending);
    [pending, filled] = [[], 0];
  };
  return {
    add: (rows) => {
      side.places.push(rows ? { tile: side.tiles.length, from: filled, rows: rows.shape[0] } : null);
      if (!rows) return;
      pending.push(rows);
      filled += rows.shape[0];
      if (filled >= tileRows) close();
    },
    finish: () => {
      close();
      return side;
    },
  };
}

/** Gradients by the weights, summed over all micro-batches; a tile's gradient lives as long as its micro-batches need it. */
function replay(
  tf: Tf,
  weights: Weights,
  batch: CachedBatch,
  { cached, whole }: { cached: Cached; whole: LossInTiles },
): { gradients: Map<string, Tensor>; local: number | null } {
  const trained = [...weights.values()].filter((variable) => variable.trainable);
  const names = new Map([...weights].map(([name, variable]) => [variable.name, name]));
  const gradients = new Map<string, Tensor>();
  const images = gradientReader(tf, cached.images, whole.byImages);
  const texts = gradientReader(tf, cached.texts, (tile) => ({ gradient: whole.byTexts(tile), scale: 0 }));
  let local: number | null = null;
  for (let index = 0; index < batch.microBatches; index++) {
    const [image, text] = [images.read(index), texts.read(index)];
    const bias = whole.bias / batch.microBatches;
    const step = microGradients(tf, trained, batch, index, { image: image.rows, text: text.rows, scale: image.scale, bias });
    if (step.local !== null) local = (local ?? 0) + step.local;
    for (const [key, gradient] of Object.entries(step.grads)) addTo(tf, gradients, names.get(key) as string, gradient);
  }
  images.close();
  texts.close();
  return { gradients, local };
}

/** The rows of one micro-batch after the other; what a tile adds to dL/dscale goes to its first micro-batch. */
function gradientReader(
  tf: Tf,
  { places }: Side,
  gradientOf: (tile: number) => { gradient: Tensor2D; scale: number },
): { read: (index: number) => { rows: Tensor2D | null; scale: number }; close: () => void } {
  let [current, open] = [-1, null as Tensor2D | null];
  return {
    read: (index) => {
      const place = places[index];
      if (!place) return { rows: null, scale: 0 };
      let scale = 0;
      if (place.tile !== current) {
        open?.dispose();
        const next = gradientOf(place.tile);
        [current, open, scale] = [place.tile, next.gradient, next.scale];
      }
      return { rows: tf.slice(open as Tensor2D, [place.from, 0], [place.rows, -1]), scale };
    },
    close: () => open?.dispose(),
  };
}

type Shares = { image: Tensor2D | null; text: Tensor2D | null; scale: number; bias: number };

function microGradients(
  tf: Tf,
  trained: Variable[],
  { embed, scale, bias }: CachedBatch,
  index: number,
  shares: Shares,
): { grads: Record<string, Tensor>; local: number | null } {
  let local: number | null = null;
  const { value, grads } = tf.variableGrads(() => {
    const made = embed(index);
    const terms: Tensor[] = [tf.mul(scale(), shares.scale)];
    if (bias) terms.push(tf.mul(bias(), shares.bias));
    if (made.image && shares.image) terms.push(tf.sum(tf.mul(made.image, shares.image)));
    if (made.text && shares.text) terms.push(tf.sum(tf.mul(made.text, shares.text)));
    if (made.local) {
      const own = made.local();
      local = own.dataSync()[0] as number;
      terms.push(own);
    }
    return tf.addN(terms.map((term) => tf.reshape(term, []))) as Scalar;
  }, trained);
  tf.dispose([value, shares.image, shares.text].filter((tensor) => tensor !== null));
  return { grads, local };
}

/** Takes the gradient; what was there before is disposed of. */
export function addTo(tf: Tf, sums: Map<string, Tensor>, name: string, gradient: Tensor): void {
  const before = sums.get(name);
  if (!before) {
    sums.set(name, gradient);
    return;
  }
  sums.set(name, tf.add(before, gradient));
  tf.dispose([before, gradient]);
}

function numberOf(tf: Tf, make: () => Tensor): number {
  return tf.tidy(() => make().dataSync()[0] as number);
}
