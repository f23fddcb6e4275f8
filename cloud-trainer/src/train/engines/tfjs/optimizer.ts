/**
 * The optimizers of training behind one interface: moments, step count, parameter groups and clipping here, the rule of one
 * update in lamb.ts and adamw.ts.
 * In: weights, their gradients, the gradients' global L2 norm before any clipping, and the step's rate. Out: weights moved in
 * place. A parameter group is what shares tower, share of the rate, and decay.
 */
import type { Tensor as PlainTensor } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { ADAMW_DEFAULTS, type AdamWOptions, adamWUpdate } from "./adamw.ts";
import type { Tensor, Tf, Variable } from "./backend.ts";
import { LAMB_DEFAULTS, type LambOptions, lambUpdate, type Slot } from "./lamb.ts";
import type { Weights } from "./layers.ts";
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

/** `share` gives a parameter its own share of the rate: towers and layer decay. */
export function createOptimizer(tf: Tf, weights: Weights, options: OptimizerOptions, share: (name: string) => number = () => 1): Optimizer {
  const full = options.name === "lamb" ? { ...LAMB_DEFAULTS, ...options } : { ...ADAMW_DEFAULTS, ...options };
  const slots = new Map<string, Slot>();
  for (const [name, w] of weights) {
    if (!w.trainable) continue;
    const zeros = () => tf.variable(tf.zeros(w.shape), false);
    const decay = hasDecay(name, w.shape) ? full.weightDecay : 0;
    slots.set(name, { w, m: zeros(), v: zeros(), decay, share: share(name) });
  }
  const groups = Map.groupBy(slots, ([name, { decay, share: own }]) => `${towerOf(name)} ${own} ${decay}`);
  let step = 0;
  return {
    step: (_weights, gradients, { rate, norm }) => {
      step++;
      const shrink = full.clipNorm === null ? 1 : 1 / Math.max(1, norm / full.clipNorm);
      for (const members of groups.values()) {
        tf.tidy(() => {
          const active = members.flatMap(([name, slot]) => {
            const gradient = gradients.get(name);
            return gradient ? [{ ...slot, g: shrink < 1 ? tf.mul(gradient, shrink) : gradient }] : [];
          });
          if (full.name === "lamb") lambUpdate(tf, full, active, { step, rate });
          else adamWUpdate(tf, full, active, { step, rate });
        });
      }
    },
    state: () => {
      const state = new Map<string, PlainTensor>([["step", { shape: [], data: Float32Array.of(step) }]]);
      for (const [name, { m, v }] of slots) {
        state.set(`m.${name}`, plain(m));
        state.set(`v.${name}`, plain(v));
      }
      return state;
    },
    load: (state) => {
      for (const [name, { m, v }] of slots) {
        restore(tf, m, state, `m.${name}`);
        restore(tf, v, state, `v.${name}`);
      }
      step = stateOf(state, "step", []).data[0] as number;
    },
    dispose: () => {
      for (const { m, v } of slots.values()) tf.dispose([m, v]);
    },
  };
}

function plain(variable: Variable): PlainTensor {
  return { shape: variable.shape, data: Float32Array.from(variable.dataSync() as Float32Array) };
}

function restore(tf: Tf, variable: Variable, state: ReadonlyMap<string, PlainTensor>, key: string): void {
  const { shape, data } = stateOf(state, key, variable.shape);
  tf.tidy(() => variable.assign(tf.tensor(data, shape)));
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
