/**
 * What one training step asks of the model, and the step itself: forward, loss, gradients, the optimizer's update.
 * A non-finite loss or gradient is skipped and counted, never applied; the logit scale is clamped to ln 100 after each step.
 */
import type { Scalar } from "@tensorflow/tfjs-core";
import type { Tensor, Tf } from "./backend.ts";
import type { Weights } from "./layers.ts";
import { globalNorm, type Optimizer } from "./optimizer.ts";

/** exp(logit_scale) never passes 100 (Radford et al. 2021, section 2.5). */
const LOGIT_SCALE_LIMIT = Math.log(100);

export type StepResult = { loss: number; gradientNorm: number; skipped: boolean };

export function trainStep(tf: Tf, weights: Weights, optimizer: Optimizer, rate: number, loss: () => Tensor): StepResult {
  const trained = [...weights.values()].filter((variable) => variable.trainable);
  const { value, grads } = tf.variableGrads(loss as () => Scalar, trained);
  const lossValue = value.dataSync()[0] as number;
  const gradients = new Map<string, Tensor>();
  for (const [name, variable] of weights) {
    const gradient = grads[variable.name];
    if (gradient) gradients.set(name, gradient);
  }
  const gradientNorm = Number.isFinite(lossValue) ? readNorm(tf, gradients) : Number.NaN;
  if (Number.isFinite(gradientNorm)) optimizer.step(weights, gradients, { rate, norm: gradientNorm });
  tf.dispose([value, ...Object.values(grads)]);
  clampLogitScale(tf, weights);
  return { loss: lossValue, gradientNorm, skipped: !Number.isFinite(gradientNorm) };
}

function readNorm(tf: Tf, gradients: ReadonlyMap<string, Tensor>): number {
  const norm = globalNorm(tf, gradients);
  const value = norm.dataSync()[0] as number;
  norm.dispose();
  return value;
}

function clampLogitScale(tf: Tf, weights: Weights): void {
  const scale = weights.get("logit_scale");
  if (scale?.trainable) tf.tidy(() => scale.assign(tf.minimum(scale, LOGIT_SCALE_LIMIT)));
}
