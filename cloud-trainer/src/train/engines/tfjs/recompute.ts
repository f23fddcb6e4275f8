/**
 * A block of a tower as one step of tfjs's gradient tape: its forward and backward pass are written by hand, and all its
 * weights are explicit inputs, so that each gets a gradient.
 * With `recompute` only the block's input is kept and its activations are made again in the backward pass (Chen et al. 2016,
 * arXiv 1604.06174): a third more time, and memory for one block instead of all. The gradients are the same, bit for bit.
 */
import type { Tensor, Tensor2D, Tf } from "./backend.ts";
import { type Affine, type Product, type productsGradient, type Weights, weight } from "./layers.ts";

/** The block's weights by the names they have inside it. */
export type Parameters = (name: string) => Tensor;

export type Block = {
  names: readonly string[];
  /** `constants` get no gradient; `kept` is what `backward` needs, and holds all that it needs but the weights. */
  forward: (x: Tensor2D, parameters: Parameters, constants: readonly Tensor[]) => { y: Tensor2D; kept: Tensor[] };
  /** Gradients by the input and, by name, by every weight. */
  backward: (dy: Tensor2D, kept: readonly Tensor[], parameters: Parameters) => { dx: Tensor2D; gradients: Record<string, Tensor> };
};

export type BlockRun = { tf: Tf; weights: Weights; prefix: string; constants?: readonly Tensor[]; recompute?: boolean | undefined };

export function runBlock(block: Block, x: Tensor2D, { tf, weights, prefix, constants = [], recompute = false }: BlockRun): Tensor2D {
  const parameters: Parameters = (name) => weight(weights, `${prefix}${name}`);
  const op = tf.customGrad((...args) => {
    const [input, save] = [args[0] as unknown as Tensor2D, args.at(-1) as unknown as (tensors: Tensor[]) => void];
    const { y, kept } = block.forward(input, parameters, constants);
    save(recompute ? [input, ...constants] : kept);
    const gradFunc = (dy: Tensor, saved: Tensor[]) => {
      const result = tf.tidy(() => {
        const again = recompute ? block.forward(saved[0] as Tensor2D, parameters, saved.slice(1)).kept : saved;
        const { dx, gradients } = block.backward(dy as Tensor2D, again, parameters);
        return [dx, ...block.names.map((name) => gradients[name] as Tensor)];
      });
      // tfjs would hold them until the last block's gradient is done
      tf.dispose(saved);
      return result;
    };
    return { value: y, gradFunc };
  });
  return op(x, ...block.names.map((name) => parameters(name))) as Tensor2D;
}

/** A product by its name, with its bias. */
export function part(parameters: Parameters, name: string): Product {
  return { weight: parameters(`${name}.weight`), bias: parameters(`${name}.bias`) };
}

export function affine(parameters: Parameters, name: string): Affine {
  return { gamma: parameters(`${name}.weight`), beta: parameters(`${name}.bias`) };
}

type ProductsGradient = ReturnType<typeof productsGradient>;

/** Gradients of the products called `names`; a bias that the block does not have is left out of its names. */
export function partGradients(names: readonly string[], { weights, biases }: ProductsGradient): Record<string, Tensor> {
  return Object.fromEntries(
    names.flatMap((name, i) => [
      [`${name}.weight`, weights[i] as Tensor],
      [`${name}.bias`, biases[i] as Tensor],
    ]),
  );
}

export function affineGradients(name: string, { gamma, beta }: ProductsGradient): Record<string, Tensor> {
  return { [`${name}.weight`]: gamma as Tensor, [`${name}.bias`]: beta as Tensor };
}
