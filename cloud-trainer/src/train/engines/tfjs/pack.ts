/**
 * A pack: parameters of one decay that an optimizer moves together, laid out flat (flat-layout.ts) with their moments.
 * In: parameters with their shares and moments; then gradients by name, step for step. Out: the weights, moved in place.
 */
import type { Tensor, Tensor2D, Tf } from "./backend.ts";
import { createFlatLayout, type FlatLayout, type FlatPart, packSegments } from "./flat-layout.ts";
import { type Weights, weight } from "./layers.ts";
import { createMoments, type MomentOptions, type Moments } from "./moments.ts";
import { towerOf } from "./parameter-groups.ts";

/** `segment`: parameters of the same segment share one trust ratio; all of them have one decay. */
export type Parameter = FlatPart & { decay: number; share: number };

export type Pack = {
  layout: FlatLayout;
  /** The same rows with each tensor a segment of its own. */
  tensors: FlatLayout;
  moments: Moments;
  decay: number;
  /** Share of the rate: one number, or [rows, 1] where the parameters' shares differ. */
  share: number | Tensor2D;
  /** Its parameters have gradients; one without stays where it is. */
  active: boolean;
  /** The weights as the last step left them, and the data they had then. */
  left: { flat: Tensor2D; data: object[] } | null;
};
/** The step from 1, its rate, the weights, and the gradient, clipped already. */
export type StepInput = { step: number; rate: number; w: Tensor2D; g: Tensor2D };

/** Packs of at most so many numbers: large enough that calls cost nothing, small enough that no update needs much memory. */
const PACK_LIMIT = 2 ** 22;

export function makePacks(
  tf: Tf,
  options: MomentOptions,
  parameters: Iterable<Parameter>,
  { held, momentOf }: { held: (name: string) => boolean; momentOf: (key: string, shape: readonly number[]) => Tensor },
): Pack[] {
  // The logit scale is clamped after each step: apart, so that it spares the others being laid out again.
  const kinds = Map.groupBy(parameters, ({ name, decay }) => `${held(name)} ${decay} ${towerOf(name) === "other"}`);
  return [...kinds.values()].flatMap((kind) =>
    packSegments(kind, PACK_LIMIT).map((parts) => {
      const layout = createFlatLayout(tf, parts);
      const single = parts.map((part) => ({ ...part, segment: part.name }));
      const tensors = createFlatLayout(tf, single);
      const shapes = new Map(parts.map(({ name, shape }) => [name, shape]));
      const join = (prefix: string) => layout.join((name) => momentOf(`${prefix}${name}`, shapes.get(name) ?? []));
      const moments = createMoments(tf, options, { m: join("m."), v: join("v.") });
      const { name, decay } = parts[0] as Parameter;
      return { layout, tensors, moments, decay, share: sharesOf(tf, tensors, parts), active: held(name), left: null };
    }),
  );
}

/** The shares of a pack's parameters: one number where they are equal, else one a row. */
function sharesOf(tf: Tf, tensors: FlatLayout, parameters: readonly Parameter[]): number | Tensor2D {
  const shares = parameters.map(({ share }) => share);
  if (new Set(shares).size === 1) return shares[0] as number;
  return tf.keep(tensors.spread(tf.tensor2d(shares, [shares.length, 1])));
}

export type Movement = { weights: Weights; gradients: ReadonlyMap<string, Tensor>; shrink: number; step: number; rate: number };

/** One step by the given rule, which answers with the new weights. */
export function movePack(
  tf: Tf,
  pack: Pack,
  { weights, gradients, shrink, step, rate }: Movement,
  rule: (input: StepInput) => Tensor2D,
): void {
  tf.tidy(() => {
    const joined = pack.layout.join((name) => gradients.get(name) as Tensor);
    const g = shrink < 1 ? (tf.mul(joined, shrink) as Tensor2D) : joined;
    const flat = tf.keep(rule({ step, rate, g, w: flatWeights(pack, weights) }));
    pack.left?.flat.dispose();
    const data = [...pack.layout.split(flat)].map(([name, value]) => {
      const variable = weight(weights, name);
      variable.assign(value as never);
      return variable.dataId;
    });
    pack.left = { flat, data };
  });
}

/** The weights as the last step left them; laid out again where somebody has changed one since. */
function flatWeights({ layout, left }: Pack, weights: Weights): Tensor2D {
  const same = left?.data.every((data, i) => weight(weights, layout.parts[i]?.name ?? "").dataId === data);
  return left && same ? left.flat : layout.join((name) => weight(weights, name));
}

/** Every moment by `m.<name>` and `v.<name>`. */
export function momentsOf(packs: readonly Pack[]): Map<string, Tensor> {
  const named = (tensors: ReadonlyMap<string, Tensor>, prefix: string) =>
    [...tensors].map(([name, tensor]) => [`${prefix}${name}`, tensor] as const);
  return new Map(
    packs.flatMap(({ layout, moments }) => {
      const { m, v } = moments.read();
      return [...named(layout.split(m), "m."), ...named(layout.split(v), "v.")];
    }),
  );
}

export function disposePacks(packs: readonly Pack[]): void {
  for (const { layout, tensors, moments, share, left } of packs) {
    for (const part of [layout, tensors, moments]) part.dispose();
    if (typeof share !== "number") share.dispose();
    left?.flat.dispose();
  }
}

/** w · (1 − shrink); the shrink is a scalar or [rows, 1]. */
export function shrunk(tf: Tf, w: Tensor2D, shrink: Tensor): Tensor2D {
  return tf.mul(w, tf.sub(1, shrink));
}
