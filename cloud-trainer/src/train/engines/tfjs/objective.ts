/**
 * What one training step asks of the model: the loss of a batch and its gradients.
 * The plain way is automatic differentiation of a loss function; the gradient cache is another with the same result.
 */
import type { Scalar } from "@tensorflow/tfjs-core";
import type { Tensor, Tf } from "./backend.ts";
import type { Weights } from "./layers.ts";

/** `parts` are scalars for the log, e.g. `contrast`. All tensors are the caller's to dispose. */
export type LossAndGradients = { loss: Tensor; gradients: Map<string, Tensor>; parts?: Record<string, Tensor> };
export type Objective<B> = (batch: B) => LossAndGradients;

export function gradientsOf<B>(
  tf: Tf,
  weights: Weights,
  lossOf: (batch: B) => Tensor | { loss: Tensor; parts: Record<string, Tensor> },
): Objective<B> {
  return (batch) => {
    const trained = [...weights.values()].filter((variable) => variable.trainable);
    const parts: Record<string, Tensor> = {};
    const { value, grads } = tf.variableGrads(() => {
      const made = lossOf(batch);
      if (!("parts" in made)) return made as Scalar;
      for (const [name, part] of Object.entries(made.parts)) parts[name] = tf.keep(tf.clone(part));
      return made.loss as Scalar;
    }, trained);
    const gradients = new Map<string, Tensor>();
    for (const [name, variable] of weights) {
      const gradient = grads[variable.name];
      if (gradient) gradients.set(name, gradient);
    }
    return { loss: value, gradients, parts };
  };
}
