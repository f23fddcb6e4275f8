/**
 * An exponential moving average of the weights (Polyak and Juditsky 1992): a̅ ← d·a̅ + (1 − d)·w after each step. The average
 * is what is evaluated and shipped; training goes on with the weights themselves.
 * The first steps would hold on to the start for 1 / (1 − d) steps, so the decay warms up: min(d, (1 + t) / (10 + t)).
 */
import type { Tensor as PlainTensor } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import type { Tf, Variable } from "./backend.ts";
import type { Weights } from "./layers.ts";

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

export function createWeightAverage(
  tf: Tf,
  weights: Weights,
  { decay, warmup = true }: { decay: number; warmup?: boolean },
): WeightAverage {
  const averages = new Map<string, Variable>();
  for (const [name, w] of weights)
    if (w.trainable)
      averages.set(
        name,
        tf.tidy(() => tf.variable(tf.clone(w), false)),
      );
  let steps = 0;
  const read = (variable: Variable): PlainTensor => ({
    shape: variable.shape,
    data: Float32Array.from(variable.dataSync() as Float32Array),
  });
  return {
    update: (now) => {
      const kept = warmup ? Math.min(decay, (1 + steps) / (10 + steps)) : decay;
      steps++;
      for (const [name, average] of averages) {
        const w = now.get(name);
        if (w) tf.tidy(() => average.assign(tf.add(average, tf.mul(tf.sub(w, average), 1 - kept)) as never));
      }
    },
    tensors: () => new Map([...weights].map(([name, w]) => [name, read(averages.get(name) ?? w)])),
    state: () => {
      const state = new Map<string, PlainTensor>([["averageSteps", { shape: [], data: Float32Array.of(steps) }]]);
      for (const [name, average] of averages) state.set(`average.${name}`, read(average));
      return state;
    },
    load: (state) => {
      for (const [name, average] of averages) {
        const saved = state.get(`average.${name}`);
        if (!saved || saved.shape.join() !== average.shape.join())
          throw new KenpinError(
            "average-state-mismatch",
            `expected an averaged tensor "average.${name}" of shape [${average.shape}]; start without the saved average, or with the model it was saved for`,
          );
        tf.tidy(() => average.assign(tf.tensor(saved.data, saved.shape)));
      }
      steps = state.get("averageSteps")?.data[0] ?? 0;
    },
    dispose: () => tf.dispose([...averages.values()]),
  };
}
