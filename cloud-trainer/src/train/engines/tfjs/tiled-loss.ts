/**
 * The contrastive losses of losses.ts and their gradients by embeddings, worked out tile by tile, so that no B × T matrix is
 * ever held: of the matrix only one tile of logits lives at a time, and each is computed again where it is needed again.
 * In: image and text embeddings in chunks of any number of rows, exp(logit_scale), SigLIP's bias, and which pairs belong
 * together. Out: the loss of the whole batch, and its gradient by any chunk when it is asked for, so that nothing as large as
 * all embeddings is held but the embeddings.
 *
 *   InfoNCE  dL/dl = (e^(l − row lse) · h / B + e^(l − column lse) · k / T) / 2 − positives' shares, h and k 1 where a row and
 *            a column have a positive; the log-sum-exps are gathered in a first round with a running maximum (Milakov and
 *            Gimelshein 2018, arXiv 1805.02867)
 *   SigLIP   dL/dz = (σ(z) − [positive]) / B
 *   then dI = s · G·T, dT = s · Gᵀ·I, ds = Σ G·cos
 */
import type { Tensor, Tensor2D, Tf } from "./backend.ts";

export type Range = { from: number; to: number };
/**
 * Which pairs of a tile are positive and which are left out, [rows, columns] of ones and zeros; null where none is.
 * The tensors are disposed of by who asked.
 */
export type Relations = (rows: Range, columns: Range) => { positive: Tensor2D | null; blocked?: Tensor2D | null };

export type TiledLoss = {
  kind: "infonce" | "sigmoid";
  images: readonly Tensor2D[];
  texts: readonly Tensor2D[];
  relations: Relations;
  scale: number;
  /** SigLIP's; 0 for InfoNCE. */
  bias?: number;
};
/** Valid as long as the embeddings are; every gradient is the caller's to dispose. */
export type LossInTiles = {
  loss: number;
  /** dL/dbias, whole. */
  bias: number;
  /** Gradient by image chunk i, and what its rows add to dL/dscale. */
  byImages: (i: number) => { gradient: Tensor2D; scale: number };
  byTexts: (j: number) => Tensor2D;
  dispose: () => void;
};

type Tile = { logits: Tensor2D; positive: Tensor2D | null; blocked: Tensor2D | null };
/** After a first round over all tiles: dL/dlogits of tile (i, j). */
type Kind = { loss: number; bias: number; slope: (tile: Tile, i: number, j: number) => Tensor2D; dispose: () => void };

export function lossInTiles(tf: Tf, asked: TiledLoss): LossInTiles {
  const { images, texts, scale } = asked;
  const grid = gridOf(tf, asked);
  const { loss, bias, slope, dispose } = asked.kind === "sigmoid" ? sigmoidKind(tf, grid) : infoNceKind(tf, grid);
  /** Σ G·T over the row's tiles, or Σ Gᵀ·I over the column's, by the chunk given. */
  const gathered = (start: Tensor2D, others: readonly Tensor2D[], tileAt: (k: number) => [number, number], turned: boolean): Tensor2D => {
    let sum: Tensor2D = tf.keep(tf.zerosLike(start));
    for (const [k, other] of others.entries()) {
      const [i, j] = tileAt(k);
      grid.visit(i, j, (tile) => {
        sum = replaced(tf, sum, tf.add(sum, tf.matMul(slope(tile, i, j), other, turned)));
      });
    }
    return sum;
  };
  return {
    loss,
    bias,
    byImages: (i) => {
      const mixed = gathered(images[i] as Tensor2D, texts, (j) => [i, j], false);
      const byScale = tf.tidy(() => tf.sum(tf.mul(images[i] as Tensor2D, mixed)).dataSync()[0] as number);
      return { gradient: replaced(tf, mixed, tf.mul(mixed, scale)), scale: byScale };
    },
    byTexts: (j) => {
      const mixed = gathered(texts[j] as Tensor2D, images, (i) => [i, j], true);
      return replaced(tf, mixed, tf.mul(mixed, scale));
    },
    dispose,
  };
}

type Grid = {
  rows: Range[];
  columns: Range[];
  /** Calls back inside a tidy. */
  visit: (i: number, j: number, use: (tile: Tile) => void) => void;
  all: (use: (tile: Tile, i: number, j: number) => void) => void;
};

function gridOf(tf: Tf, { images, texts, relations, scale, bias = 0 }: TiledLoss): Grid {
  const [rows, columns] = [rangesOf(images), rangesOf(texts)];
  const visit: Grid["visit"] = (i, j, use) =>
    tf.tidy(() => {
      const { positive, blocked = null } = relations(rows[i] as Range, columns[j] as Range);
      const scaled = tf.mul(images[i] as Tensor2D, scale) as Tensor2D;
      const product: Tensor2D = tf.matMul(scaled, texts[j] as Tensor2D, false, true);
      use({ logits: bias === 0 ? product : (tf.add(product, bias) as Tensor2D), positive, blocked });
    });
  return {
    rows,
    columns,
    visit,
    all: (use) => {
      for (const i of rows.keys()) for (const j of columns.keys()) visit(i, j, (tile) => use(tile, i, j));
    },
  };
}

/** Blocked pairs are so unlikely that they are neither positive nor negative; as in contrastiveLoss. */
const BLOCKED = 1e4;

function infoNceKind(tf: Tf, grid: Grid): Kind {
  const byRow = grid.rows.map(() => newTally());
  const byColumn = grid.columns.map(() => newTally());
  const logitsOf = ({ logits, blocked }: Tile): Tensor2D => (blocked ? tf.sub(logits, tf.mul(blocked, BLOCKED)) : logits);
  grid.all((tile, i, j) => {
    const shown = { ...tile, logits: logitsOf(tile) };
    count(tf, byRow[i] as Tally, shown, 1);
    count(tf, byColumn[j] as Tally, shown, 0);
  });
  const rows = byRow.map((tally) => settle(tf, tally, sizeOf(grid.rows)));
  const columns = byColumn.map((tally) => settle(tf, tally, sizeOf(grid.columns)));
  return {
    loss: [...rows, ...columns].reduce((sum, { loss }) => sum + loss, 0),
    bias: 0,
    slope: (tile, i, j) => {
      const [row, column] = [rows[i] as Settled, columns[j] as Settled];
      const logits = logitsOf(tile);
      const shares = tf.add(tf.exp(tf.sub(logits, row.shift)), tf.exp(tf.sub(logits, column.shift))) as Tensor2D;
      return tile.positive ? tf.sub(shares, tf.mul(tile.positive, tf.add(row.weight, column.weight))) : shares;
    },
    dispose: () => tf.dispose([...rows, ...columns].flatMap(({ shift, weight }) => [shift, weight])),
  };
}

/** Of the rows (or columns) of one chunk: running maximum, Σ e^(l − maximum), Σ of positive logits, and how many there are. */
type Tally = { max: Tensor | null; sum: Tensor | null; positives: Tensor | null; counts: Tensor | null };

function newTally(): Tally {
  return { max: null, sum: null, positives: null, counts: null };
}

function count(tf: Tf, tally: Tally, { logits, positive }: Tile, axis: 0 | 1): void {
  const top = tf.max(logits, axis, true);
  const max = tally.max ? tf.maximum(tally.max, top) : top;
  const fresh = tf.sum(tf.exp(tf.sub(logits, max)), axis, true);
  const sum = tally.max && tally.sum ? tf.add(tf.mul(tally.sum, tf.exp(tf.sub(tally.max, max))), fresh) : fresh;
  tally.sum = replaced(tf, tally.sum, sum);
  tally.max = replaced(tf, tally.max, max);
  if (!positive) return;
  const [found, counted] = [tf.sum(tf.mul(positive, logits), axis, true), tf.sum(positive, axis, true)];
  tally.positives = replaced(tf, tally.positives, tally.positives ? tf.add(tally.positives, found) : found);
  tally.counts = replaced(tf, tally.counts, tally.counts ? tf.add(tally.counts, counted) : counted);
}

/** `shift`: log-sum-exp + ln 2N, so that e^(l − shift) is a share of the gradient; `weight`: 1 / (2N · positives). */
type Settled = { shift: Tensor; weight: Tensor; loss: number };
/** Shift of a row without any positive: it says nothing, so that e^(l − shift) is 0. */
const SILENT = 1e30;

function settle(tf: Tf, { max, sum, positives, counts }: Tally, size: number): Settled {
  let loss = 0;
  const [shift, weight] = tf.tidy(() => {
    const lse = tf.add(max as Tensor, tf.log(sum as Tensor));
    const some = counts ?? tf.zerosLike(lse);
    const share = tf.div(tf.cast(tf.greater(some, 0), "float32"), tf.maximum(some, 1));
    const [ends, found, shares] = [lse, positives ?? tf.zerosLike(lse), share].map((t) => t.dataSync());
    for (const [i, one] of (shares as Float32Array).entries())
      if (one > 0) loss += ((ends?.[i] as number) - (found?.[i] as number) * one) / (2 * size);
    const spoken = tf.greater(some, 0);
    return [tf.where(spoken, tf.add(lse, Math.log(2 * size)), tf.fill(lse.shape, SILENT)), tf.div(share, 2 * size)] as [Tensor, Tensor];
  });
  tf.dispose([max, sum, positives, counts].filter((tensor) => tensor !== null));
  return { shift, weight, loss };
}

function sigmoidKind(tf: Tf, grid: Grid): Kind {
  const size = sizeOf(grid.rows);
  const counted = <T extends Tensor>(pairs: T, blocked: Tensor2D | null): T => (blocked ? tf.mul(pairs, tf.sub(1, blocked)) : pairs);
  const slope = ({ logits, positive, blocked }: Tile): Tensor2D => {
    const share = tf.sigmoid(logits);
    return tf.div(counted(positive ? (tf.sub(share, positive) as Tensor2D) : share, blocked), size);
  };
  let [loss, bias] = [0, 0];
  grid.all((tile) => {
    const { logits, positive, blocked } = tile;
    const cost = tf.sum(counted(tf.softplus(logits), blocked));
    const gain = positive ? tf.sum(counted(tf.mul(positive, logits), blocked)) : tf.scalar(0);
    const [paid = 0, gained = 0, slopes = 0] = tf.stack([cost, gain, tf.sum(slope(tile))]).dataSync();
    loss += (paid - gained) / size;
    bias += slopes;
  });
  return { loss, bias, slope, dispose: () => {} };
}

/** Image i belongs to text i. */
export function pairRelations(tf: Tf): Relations {
  return (rows, columns) => {
    if (rows.from >= columns.to || columns.from >= rows.to) return { positive: null };
    return { positive: equalPairs(tf, indices(rows), indices(columns)) };
  };
}

/** An image belongs to every text that has its caption's number. */
export function captionRelations(tf: Tf, captionsOf: { images: Int32Array; texts: Int32Array }): Relations {
  return (rows, columns) => {
    const [ofRows, ofColumns] = [captionsOf.images.subarray(rows.from, rows.to), captionsOf.texts.subarray(columns.from, columns.to)];
    const known = new Set(ofColumns);
    return { positive: ofRows.some((id) => known.has(id)) ? equalPairs(tf, ofRows, ofColumns) : null };
  };
}

function equalPairs(tf: Tf, rows: Int32Array, columns: Int32Array): Tensor2D {
  const [down, across] = [tf.tensor2d(rows, [rows.length, 1], "int32"), tf.tensor2d(columns, [1, columns.length], "int32")];
  return tf.cast(tf.equal(down, across), "float32");
}

function indices({ from, to }: Range): Int32Array {
  return Int32Array.from({ length: to - from }, (_, i) => from + i);
}

function rangesOf(chunks: readonly Tensor2D[]): Range[] {
  let from = 0;
  return chunks.map(({ shape }) => {
    const range = { from, to: from + shape[0] };
    from = range.to;
    return range;
  });
}

function sizeOf(ranges: readonly Range[]): number {
  return ranges.at(-1)?.to ?? 0;
}

/** The new tensor, kept beyond the tidy it was made in; the old one is gone. */
function replaced<T extends Tensor>(tf: Tf, old: T | null, fresh: T): T {
  old?.dispose();
  return tf.keep(fresh);
}
