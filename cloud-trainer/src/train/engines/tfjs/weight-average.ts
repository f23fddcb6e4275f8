/**
 * An exponential moving average of the weights (Polyak and Juditsky 1992): a ← d·a + (1 − d)·w after each step. The average is
 * what is evaluated and shipped; training goes on with the weights themselves.
 * The first steps would hold on to the start for 1 / (1 − d) steps, so the decay warms up: min(d, (1 + t) / (10 + t)).
 */
import type { Tensor as PlainTensor } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import type { Tensor, Tensor2D, Tf } from "./backend.ts";
import { createFlatLayout, type FlatLayout, packSegments } from "./flat-layout.ts";
import { type Weights, weight } from "./layers.ts";

export type WeightAverage = {
  /** Call once after each step. */
  update: (weights: Weights) => void;
  /** The averaged weights as plain tensors; those that are not trained as they are. */
  tensors: () => Map<string, PlainTensor>;
  /** `average.<name>` and `averageSteps`, for a checkpoint; load() takes them back exactly. */
  state: () => Map<string, PlainTensor>;
  load: (state: ReadonlyMap<string, PlainTensor>) => void;
  dispose: () => void;
};

/** Weights laid out in matrices of about so many numbers: few operations, and little memory for what they pass on. */
const PACK_LIMIT = 2 ** 22;

type Pack = { layout: FlatLayout; flat: Tensor2D };

export function createWeightAverage(
  tf: Tf,
  weights: Weights,
  { decay, warmup = true }: { decay: number; warmup?: boolean },
): WeightAverage {
  const trained = [...weights].filter(([, w]) => w.trainable).map(([name, { shape }]) => ({ name, shape, segment: name }));
  const packs: Pack[] = packSegments(trained, PACK_LIMIT).map((parts) => {
    const layout = createFlatLayout(tf, parts);
    return { layout, flat: tf.keep(layout.join((name) => weight(weights, name))) };
  });
  let steps = 0;
  const replace = (of: (pack: Pack) => Tensor2D) => {
    for (const pack of packs) {
      const fresh = tf.tidy(() => tf.keep(of(pack)));
      pack.flat.dispose();
      pack.flat = fresh;
    }
  };
  return {
    update: (now) => {
      const kept = warmup ? Math.min(decay, (1 + steps) / (10 + steps)) : decay;
      steps++;
      replace(({ layout, flat }) =>
        tf.add(
          flat,
          tf.mul(
            tf.sub(
              layout.join((name) => weight(now, name)),
              flat,
            ),
            1 - kept,
          ),
        ),
      );
    },
    tensors: () => {
      const averages = plainAverages(tf, packs);
      return new Map([...weights].map(([name, w]) => [name, averages.get(name) ?? plain(w)]));
    },
    state: () => {
      const state = new Map<string, PlainTensor>([["averageSteps", { shape: [], data: Float32Array.of(steps) }]]);
      for (const [name, average] of plainAverages(tf, packs)) state.set(`average.${name}`, average);
      return state;
    },
    load: (state) => {
      const saved = new Map(trained.map(({ name, shape }) => [name, stateOf(state, `average.${name}`, shape)]));
      const savedSteps = stateOf(state, "averageSteps", []).data[0] as number;
      replace(({ layout }) => layout.join((name) => tf.tensor((saved.get(name) as PlainTensor).data)));
      steps = savedSteps;
    },
    dispose: () => {
      for (const { layout, flat } of packs) {
        layout.dispose();
        flat.dispose();
      }
    },
  };
}

function plainAverages(tf: Tf, packs: readonly Pack[]): Map<string, PlainTensor> {
  const averages = new Map<string, PlainTensor>();
  for (const { layout, flat } of packs) {
    for (const [name, tensor] of layout.split(flat)) {
      averages.set(name, plain(tensor));
      tf.dispose(tensor);
    }
  }
  return averages;
}

function plain(tensor: Tensor): PlainTensor {
  return { shape: tensor.shape, data: Float32Array.from(tensor.dataSync() as Float32Array) };
}

function stateOf(state: ReadonlyMap<string, PlainTensor>, key: string, shape: readonly number[]): PlainTensor {
  const found = state.get(key);
  if (found && found.shape.join() === shape.join()) return found;
  const came = found ? `one of [${found.shape}]` : "none";
  throw new KenpinError(
    "average-state-mismatch",
    `expected an averaged tensor "${key}" of shape [${shape}], found ${came}; start without the saved average, or with the model it was saved for`,
  );
}
