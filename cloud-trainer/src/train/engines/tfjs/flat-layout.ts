/**
 * Many tensors laid end to end in one matrix, so that an update of hundreds of parameters is a dozen operations and not
 * thousands: on a small model the calls cost more than the numbers.
 * In: tensors by name. Out: a matrix [rows, 128]; each tensor starts a row, the last row of each is filled up with zeros.
 * Sums by segment (one or more whole tensors) and factors by segment are products with a constant matrix of ones and zeros.
 */
import type { Tensor, Tensor1D, Tensor2D, Tf } from "./backend.ts";

const ROW = 128;

/** `segment`: tensors of the same segment are summed together; a segment's tensors need not be neighbours. */
export type FlatPart = { name: string; shape: readonly number[]; segment: string };

export type FlatLayout = {
  parts: readonly FlatPart[];
  segments: readonly string[];
  join: (tensorOf: (name: string) => Tensor) => Tensor2D;
  /** The tensors again, by name and in their shapes. */
  split: (flat: Tensor2D) => Map<string, Tensor>;
  /** Sum of each segment, [1, S]. */
  sums: (flat: Tensor2D) => Tensor2D;
  /** One number a segment, [S, 1], to one number a row, [rows, 1]. */
  spread: (bySegment: Tensor2D) => Tensor2D;
  dispose: () => void;
};

export function createFlatLayout(tf: Tf, parts: readonly FlatPart[]): FlatLayout {
  const sizes = parts.map(({ shape }) => shape.reduce((product, n) => product * n, 1));
  const rows = sizes.map((size) => Math.ceil(size / ROW));
  const pads = sizes.map((size, i) => {
    const missing = (rows[i] as number) * ROW - size;
    return missing > 0 ? tf.keep(tf.zeros([missing])) : null;
  });
  const segments = [...new Set(parts.map(({ segment }) => segment))];
  let made: Tensor2D | null = null;
  const membership = () => {
    made ??= tf.keep(membershipMatrix(tf, parts, rows, segments));
    return made;
  };
  return {
    parts,
    segments,
    join: (tensorOf) =>
      tf.tidy(() => {
        const pieces = parts.flatMap(({ name }, i) => {
          const flat = tf.reshape(tensorOf(name), [-1]) as Tensor1D;
          const pad = pads[i];
          return pad ? [flat, pad as Tensor1D] : [flat];
        });
        return tf.reshape(pieces.length === 1 ? (pieces[0] as Tensor1D) : tf.concat1d(pieces), [-1, ROW]) as Tensor2D;
      }),
    split: (flat) => {
      const tensors = tf.tidy(() => {
        const pieces = parts.length === 1 ? [flat] : tf.split(flat, rows, 0);
        return parts.map(({ shape }, i) => shaped(tf, pieces[i] as Tensor, sizes[i] as number, shape));
      });
      return new Map(parts.map(({ name }, i) => [name, tensors[i] as Tensor]));
    },
    sums: (flat) => tf.tidy(() => tf.matMul(tf.sum(flat, 1, true) as Tensor2D, membership(), true)),
    spread: (bySegment) => tf.matMul(membership(), bySegment),
    dispose: () => tf.dispose([made, ...pads].filter((tensor) => tensor !== null)),
  };
}

/** Layouts of at most `limit` numbers each (a larger segment has one of its own); no segment is divided. */
export function packSegments<P extends FlatPart>(parts: readonly P[], limit: number): P[][] {
  const packs: P[][] = [];
  let filled = Number.POSITIVE_INFINITY;
  for (const members of Map.groupBy(parts, ({ segment }) => segment).values()) {
    const size = members.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
    if (filled + size > limit) {
      packs.push([]);
      filled = 0;
    }
    packs.at(-1)?.push(...members);
    filled += size;
  }
  return packs;
}

function shaped(tf: Tf, rows: Tensor, size: number, shape: readonly number[]): Tensor {
  const whole = rows.size === size ? rows : tf.slice(tf.reshape(rows, [-1]), [0], [size]);
  return tf.reshape(whole, [...shape]);
}

/** [rows, S], 1 where the row belongs to the segment. */
function membershipMatrix(tf: Tf, parts: readonly FlatPart[], rows: readonly number[], segments: readonly string[]): Tensor2D {
  const total = rows.reduce((sum, n) => sum + n, 0);
  const columns = segments.length;
  const ones = new Float32Array(total * columns);
  let row = 0;
  for (const [i, { segment }] of parts.entries()) {
    const column = segments.indexOf(segment);
    for (const end = row + (rows[i] as number); row < end; row++) ones[row * columns + column] = 1;
  }
  return tf.tensor2d(ones, [total, columns]);
}
