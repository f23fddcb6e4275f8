/**
 * The optimizers of training behind one interface: moments, step count, parameter groups and clipping here, the rule of one
 * update in lamb.ts and adamw.ts.
 * In: weights, their gradients, the gradients' global L2 norm before any clipping, and the step's rate. Out: weights moved in
 * place. A parameter group is what shares tower, share of the rate, and decay.
 */
import type { Tensor as PlainTensor } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { ADAMW_DEFAULTS, type AdamWOptions, adamWUpdate } from "./adamw.ts";
import type { Tensor, Tensor2D, Tf } from "./backend.ts";
import { createFlatLayout, type FlatLayout, type FlatPart, packSegments } from "./flat-layout.ts";
import { LAMB_DEFAULTS, type LambOptions, lambUpdate } from "./lamb.ts";
import { type Weights, weight } from "./layers.ts";
import type { Pack } from "./moments.ts";
import { hasDecay, type Tower, towerOf } from "./parameter-groups.ts";

export type OptimizerOptions = ({ name: "lamb" } & Partial<LambOptions>) | ({ name: "adamw" } & Partial<AdamWOptions>);

export type Optimizer = {
  /** One update with gradients whose global norm is already known (L2, before any clipping). */
  step: (weights: Weights, gradients: ReadonlyMap<string, Tensor>, options: { rate: number; norm: number }) => void;
  /** Moments and step count as plain tensors (`m.<name>`, `v.<name>`, `step`), to be kept in a checkpoint. */
  state: () => Map<string, PlainTensor>;
  /** Takes back exactly what state() gave. */
  load: (state: ReadonlyMap<string, PlainTensor>) => void;
  dispose: () => void;
};

/** Packs of at most so many numbers: large enough that calls cost nothing, small enough that no update needs much memory. */
const PACK_LIMIT = 2 ** 22;

/** `share` gives a parameter its own share of the rate: towers and layer decay. */
export function createOptimizer(tf: Tf, weights: Weights, options: OptimizerOptions, share: (name: string) => number = () => 1): Optimizer {
  const full = options.name === "lamb" ? { ...LAMB_DEFAULTS, ...options } : { ...ADAMW_DEFAULTS, ...options };
  const parameters = new Map<string, Parameter>();
  for (const [name, { trainable, shape }] of weights) {
    if (!trainable) continue;
    const decay = hasDecay(name, shape) ? full.weightDecay : 0;
    const own = share(name);
    const segment = full.name === "lamb" && full.trustScope === "group" ? `${towerOf(name)} ${own} ${decay}` : name;
    parameters.set(name, { name, shape, decay, share: own, segment });
  }
  let packs: MovingPack[] = [];
  let step = 0;
  const saved = () =>
    new Map(packs.flatMap(({ moments: { m, v }, pack }) => [...named(pack.layout.split(m), "m."), ...named(pack.layout.split(v), "v.")]));
  const repack = (held: (name: string) => boolean) => {
    tf.tidy(() => {
      const before = saved();
      for (const one of packs) disposePack(tf, one);
      packs = makePacks(tf, parameters, held, (key, shape) => before.get(key) ?? tf.zeros([...shape]));
    });
  };
  repack(() => true);
  return {
    step: (now, gradients, { rate, norm }) => {
      if (packs.some(({ pack, active }) => pack.layout.parts.some(({ name }) => gradients.has(name) !== active)))
        repack((name) => gradients.has(name));
      step++;
      const shrink = full.clipNorm === null ? 1 : 1 / Math.max(1, norm / full.clipNorm);
      for (const one of packs) if (one.active) movePack(tf, full, one, { weights: now, gradients, shrink, step, rate });
    },
    state: () => {
      const state = new Map<string, PlainTensor>([["step", { shape: [], data: Float32Array.of(step) }]]);
      tf.tidy(() => {
        for (const [key, tensor] of saved()) state.set(key, plain(tensor));
      });
      return state;
    },
    load: (state) => {
      const loaded = stateOf(state, "step", []).data[0] as number;
      tf.tidy(() => {
        const next = makePacks(
          tf,
          parameters,
          () => true,
          (key, shape) => tf.tensor(stateOf(state, key, shape).data, [...shape]),
        );
        for (const one of packs) disposePack(tf, one);
        packs = next;
      });
      step = loaded;
    },
    dispose: () => {
      for (const one of packs) disposePack(tf, one);
      packs = [];
    },
  };
}

type Parameter = FlatPart & { decay: number; share: number };
/** `active`: its parameters had gradients in the last step. */
type MovingPack = { pack: Pack; moments: { m: Tensor2D; v: Tensor2D }; active: boolean };

type Movement = { weights: Weights; gradients: ReadonlyMap<string, Tensor>; shrink: number; step: number; rate: number };

/** A pack's parameters share decay, and whether they have gradients: one without a gradient stays where it is. */
function makePacks(
  tf: Tf,
  parameters: ReadonlyMap<string, Parameter>,
  held: (name: string) => boolean,
  momentOf: (key: string, shape: readonly number[]) => Tensor,
): MovingPack[] {
  const kinds = Map.groupBy(parameters.values(), ({ name, decay }) => `${held(name)} ${decay}`);
  return [...kinds.values()].flatMap((kind) =>
    packSegments(kind, PACK_LIMIT).map((parts) => {
      const layout = createFlatLayout(tf, parts);
      const tensors = createFlatLayout(
        tf,
        parts.map((part) => ({ ...part, segment: part.name })),
      );
      const first = parts[0] as Parameter;
      const join = (prefix: string) => tf.keep(layout.join((name) => momentOf(`${prefix}${name}`, parameters.get(name)?.shape ?? [])));
      const pack = { layout, tensors, decay: first.decay, share: sharesOf(tf, tensors, parts) };
      return { pack, moments: { m: join("m."), v: join("v.") }, active: held(first.name) };
    }),
  );
}
/** The shares of a pack's parameters: one number where they are equal, else one a row. */
function sharesOf(tf: Tf, tensors: FlatLayout, parameters: readonly Parameter[]): number | Tensor2D {
  const shares = parameters.map(({ share }) => share);
  if (new Set(shares).size === 1) return shares[0] as number;
  return tf.keep(tensors.spread(tf.tensor2d(shares, [shares.length, 1])));
}

function movePack(
  tf: Tf,
  options: LambOptions | AdamWOptions,
  moving: MovingPack,
  { weights, gradients, shrink, step, rate }: Movement,
): void {
  const { pack } = moving;
  tf.tidy(() => {
    const joined = pack.layout.join((name) => gradients.get(name) as Tensor);
    const input = { step, rate, g: shrink < 1 ? (tf.mul(joined, shrink) as Tensor2D) : joined };
    const before = { ...moving.moments, w: pack.layout.join((name) => weight(weights, name)) };
    const after = options.name === "lamb" ? lambUpdate(tf, options, pack, before, input) : adamWUpdate(tf, options, pack, before, input);
    for (const [name, value] of pack.layout.split(after.w)) weight(weights, name).assign(value as never);
    tf.dispose([before.m, before.v]);
    moving.moments = { m: tf.keep(after.m), v: tf.keep(after.v) };
  });
}

function disposePack(tf: Tf, { pack, moments }: MovingPack): void {
  pack.layout.dispose();
  pack.tensors.dispose();
  tf.dispose([moments.m, moments.v]);
  if (typeof pack.share !== "number") pack.share.dispose();
}

function named(tensors: ReadonlyMap<string, Tensor>, prefix: string): [string, Tensor][] {
  return [...tensors].map(([name, tensor]) => [`${prefix}${name}`, tensor]);
}

function plain(tensor: Tensor): PlainTensor {
  return { shape: tensor.shape, data: Float32Array.from(tensor.dataSync() as Float32Array) };
}

function stateOf(state: ReadonlyMap<string, PlainTensor>, key: string, shape: readonly number[]): PlainTensor {
  const found = state.get(key);
  if (!found || found.shape.join() !== shape.join()) {
    const came = found ? `one of [${found.shape}]` : "none";
    throw new KenpinError(
      "optimizer-state-mismatch",
      `expected an optimizer tensor "${key}" of shape [${shape}], found ${came}; start without the saved state, or with the model it was saved for`,
    );
  }
  return found;
}

/** √Σg² over all gradients, on the device. */
export function globalNorm(tf: Tf, gradients: ReadonlyMap<string, Tensor>): Tensor {
  return tf.tidy(() => tf.sqrt(squareSum(tf, [...gradients.values()])));
}

/** The global norm and its parts by tower, in one read-back. */
export function normsByTower(tf: Tf, gradients: ReadonlyMap<string, Tensor>): Record<Tower | "global", number> {
  const of = (tower: Tower) => [...gradients].filter(([name]) => towerOf(name) === tower).map(([, g]) => g);
  const sums = tf.tidy(() => tf.stack([squareSum(tf, of("image")), squareSum(tf, of("text")), squareSum(tf, of("other"))]).dataSync());
  const [image = 0, text = 0, other = 0] = sums;
  return { global: Math.sqrt(image + text + other), image: Math.sqrt(image), text: Math.sqrt(text), other: Math.sqrt(other) };
}

function squareSum(tf: Tf, tensors: readonly Tensor[]): Tensor {
  return tensors.length === 0 ? tf.scalar(0) : tf.addN(tensors.map((t) => tf.sum(tf.square(t))));
}
