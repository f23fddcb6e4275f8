/**
 * The optimizers of training behind one interface: moments, step count, parameter groups and clipping here, the rule of one
 * update in lamb.ts and adamw.ts.
 * In: weights, their gradients, the gradients' global L2 norm before any clipping, and the step's rate. Out: weights moved in
 * place. A parameter group is what shares tower, share of the rate, and decay.
 */
import type { Tensor as PlainTensor } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { ADAMW_DEFAULTS, type AdamWOptions, adamWUpdate } from "./adamw.ts";
import type { Tensor, Tf } from "./backend.ts";
import { LAMB_DEFAULTS, type LambOptions, lambUpdate } from "./lamb.ts";
import type { Weights } from "./layers.ts";
import type { RawBackend } from "./moments.ts";
import { disposePacks, makePacks, momentsOf, movePack, type Pack, type Parameter, type StepInput } from "./pack.ts";
import { hasDecay, towerOf } from "./parameter-groups.ts";

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
  const parameters = parametersOf(weights, full, share);
  const laidOut = (held: (name: string) => boolean, momentOf: (key: string, shape: readonly number[]) => Tensor) =>
    tf.tidy(() => {
      const before = packs;
      packs = makePacks(tf, full, parameters, { held, momentOf });
      disposePacks(before);
    });
  let packs: Pack[] = [];
  let step = 0;
  laidOut(
    () => true,
    (_, shape) => tf.zeros([...shape]),
  );
  return {
    step: (now, gradients, { rate, norm }) => {
      if (packs.some(({ layout, active }) => layout.parts.some(({ name }) => gradients.has(name) !== active)))
        tf.tidy(() => {
          const kept = momentsOf(packs);
          laidOut(
            (name) => gradients.has(name),
            (key) => kept.get(key) as Tensor,
          );
        });
      step++;
      const shrink = full.clipNorm === null ? 1 : 1 / Math.max(1, norm / full.clipNorm);
      for (const pack of packs.filter(({ active }) => active)) {
        const rule = (input: StepInput) => (full.name === "lamb" ? lambUpdate(tf, full, pack, input) : adamWUpdate(tf, pack, input));
        movePack(tf, pack, { weights: now, gradients, shrink, step, rate }, rule);
      }
    },
    state: () => {
      const state = new Map<string, PlainTensor>([["step", { shape: [], data: Float32Array.of(step) }]]);
      tf.tidy(() => {
        for (const [key, tensor] of momentsOf(packs)) state.set(key, plain(tensor));
      });
      return state;
    },
    load: (state) => {
      const loaded = stateOf(state, "step", []).data[0] as number;
      for (const { name, shape } of parameters) for (const kind of ["m", "v"]) stateOf(state, `${kind}.${name}`, shape);
      laidOut(
        () => true,
        (key, shape) => tf.tensor(stateOf(state, key, shape).data, [...shape]),
      );
      step = loaded;
    },
    dispose: () => {
      disposePacks(packs);
      packs = [];
    },
  };
}

function parametersOf(weights: Weights, options: LambOptions | AdamWOptions, share: (name: string) => number): Parameter[] {
  const grouped = options.name === "lamb" && options.trustScope === "group";
  return [...weights]
    .filter(([, { trainable }]) => trainable)
    .map(([name, { shape }]) => {
      const [decay, own] = [hasDecay(name, shape) ? options.weightDecay : 0, share(name)];
      return { name, shape, decay, share: own, segment: grouped ? `${towerOf(name)} ${own} ${decay}` : name };
    });
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

/** Σx² over all tensors: TensorFlow has half of it as one kernel that needs no memory. */
export function squareSum(tf: Tf, tensors: readonly Tensor[]): Tensor {
  if (tensors.length === 0) return tf.scalar(0);
  const halfOf = halfSquareSum(tf);
  return halfOf ? tf.mul(tf.addN(tensors.map(halfOf)), 2) : tf.addN(tensors.map((t) => tf.sum(tf.square(t))));
}

/** TensorFlow's L2Loss, Σx² / 2, where its back end runs. */
function halfSquareSum(tf: Tf): ((x: Tensor) => Tensor) | null {
  if (tf.getBackend() !== "tensorflow") return null;
  const backend = tf.backend() as unknown as RawBackend;
  const attributes = [{ name: "T", type: backend.binding.TF_ATTR_TYPE, value: backend.binding.TF_FLOAT }];
  return (x) => backend.executeMultipleOutputs("L2Loss", attributes, [x], 1)[0] as Tensor;
}
