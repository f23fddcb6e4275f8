/**
 * A control that any claim should beat: the same architecture with weights that nothing has taught. In: a model's tensor shapes, a
 * seed. Out: tensors as a fresh network has them: norms pass their input on, biases are 0, products keep the size of what they are
 * given (He et al. 2015), embeddings are as wide as open_clip's.
 */
import { type ModelConfig, type Tensor, tensorShapes } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";

const EMBEDDING_SPREAD = 0.02;
const LOGIT_SCALE = Math.log(1 / 0.07);

export function randomWeights(config: ModelConfig, seed: number): Map<string, Tensor> {
  const { normal } = createRandom(seed);
  const tensors = new Map<string, Tensor>();
  for (const [name, shape] of tensorShapes(config)) {
    const size = shape.reduce((product, n) => product * n, 1);
    const draw = startOf(name, shape, normal);
    tensors.set(name, { shape, data: Float32Array.from({ length: size }, draw) });
  }
  return tensors;
}

function startOf(name: string, shape: readonly number[], normal: () => number): () => number {
  if (name === "logit_scale") return () => LOGIT_SCALE;
  if (/(_embed|_embedding|token|cls)(\.weight)?$/.test(name)) return () => normal() * EMBEDDING_SPREAD;
  if (shape.length === 1) return () => (name.endsWith("bias") ? 0 : 1);
  const inputs = name.endsWith("projection") ? (shape[0] as number) : shape.slice(1).reduce((product, n) => product * n, 1);
  return () => normal() / Math.sqrt(inputs);
}
