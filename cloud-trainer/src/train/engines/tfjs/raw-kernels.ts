/**
 * TensorFlow's own kernels for what tfjs has no single operation for: a norm over columns as a batch norm of one example
 * (FusedBatchNormV3), rotary positions as one product of complex numbers, sums by row number (UnsortedSegmentSum).
 * In and out: tensors of the "tensorflow" back end. Each is called by its name in TensorFlow's list of operations
 * (https://www.tensorflow.org/api_docs/python/tf/raw_ops). None of them records a gradient: use them inside tf.customGrad.
 */
import type { Tensor, Tensor1D, Tensor2D, Tf } from "./backend.ts";
import type { Kernels } from "./portable-kernels.ts";

type Attribute = { name: string; type: number; value: unknown };
type RawBackend = {
  binding: Record<"TF_ATTR_TYPE" | "TF_ATTR_FLOAT" | "TF_ATTR_STRING" | "TF_ATTR_BOOL" | "TF_FLOAT" | "TF_INT32" | "TF_COMPLEX64", number>;
  executeMultipleOutputs: (name: string, attributes: Attribute[], inputs: Tensor[], outputs: number) => Tensor[];
};

export function rawKernels(tf: Tf): Kernels {
  const backend = tf.backend() as unknown as RawBackend;
  const { binding } = backend;
  const type = (name: string, value: number): Attribute => ({ name, type: binding.TF_ATTR_TYPE, value });
  const run = (name: string, attributes: Attribute[], inputs: Tensor[], outputs = 1) =>
    backend.executeMultipleOutputs(name, [type("T", binding.TF_FLOAT), ...attributes], inputs, outputs);
  const none = tf.keep(tf.tensor1d([]));
  const batchNorm = (eps: number): Attribute[] => [
    type("U", binding.TF_FLOAT),
    { name: "epsilon", type: binding.TF_ATTR_FLOAT, value: eps },
    { name: "data_format", type: binding.TF_ATTR_STRING, value: "NHWC" },
    { name: "is_training", type: binding.TF_ATTR_BOOL, value: true },
  ];

  return {
    // One example, W rows, M channels: a batch norm then takes mean and variance of each column.
    norm: (x, eps) => {
      const [rows, columns] = x.shape;
      const image = tf.reshape(x, [1, rows, 1, columns]);
      const [normal, , , , variance] = run(
        "FusedBatchNormV3",
        batchNorm(eps),
        [image, tf.ones([columns]), tf.zeros([columns]), none, none],
        6,
      );
      const inverse = tf.rsqrt(tf.add(variance as Tensor, eps));
      return [tf.reshape(normal as Tensor, [rows, columns]) as Tensor2D, inverse as Tensor1D];
    },
    // With x̂ in the place of x, mean 0 and variance 1 − ε the kernel's own (x − μ)/√(σ² + ε) is x̂ again, and the scale is 1/σ.
    normGradient: (dy, normal, inverse) => {
      const [rows, columns] = dy.shape;
      const image = (x: Tensor) => tf.reshape(x, [1, rows, 1, columns]);
      const zeros = tf.zeros([columns]);
      const inputs = [image(dy), image(normal), inverse, zeros, tf.fill([columns], 1 - EPS), zeros];
      return tf.reshape(run("FusedBatchNormGradV3", batchNorm(EPS), inputs, 5)[0] as Tensor, [rows, columns]) as Tensor2D;
    },
    // (t0 + i·t1)·(cos + i·sin) is the pair (t0, t1) turned by the angle.
    rotate: (x, table, back) => {
      const complex = (real: Tensor) => {
        const pairs = tf.reshape(real, [...real.shape.slice(0, -1), (real.shape.at(-1) as number) / 2, 2]);
        return run("Bitcast", [type("type", binding.TF_COMPLEX64)], [pairs])[0] as Tensor;
      };
      const ofComplex = (name: string, attributes: Attribute[], inputs: Tensor[]) =>
        backend.executeMultipleOutputs(name, [type("T", binding.TF_COMPLEX64), ...attributes], inputs, 1)[0] as Tensor;
      const angles = back ? ofComplex("Conj", [], [complex(table)]) : complex(table);
      const turned = ofComplex("Mul", [], [complex(x), angles]);
      return tf.reshape(ofComplex("Bitcast", [type("type", binding.TF_FLOAT)], [turned]), x.shape) as typeof x;
    },
    tanhGradient: (t, dy) => run("TanhGrad", [], [t, dy])[0] as typeof dy,
    scatterRows: (rows, numbers, count) => {
      const types = [type("Tindices", binding.TF_INT32), type("Tnumsegments", binding.TF_INT32)];
      return run("UnsortedSegmentSum", types, [rows, numbers, tf.scalar(count, "int32")])[0] as Tensor2D;
    },
  };
}

/** Any ε does: the kernel adds what was taken from the variance before. A power of two, so that 1 − ε + ε is 1 exactly. */
const EPS = 2 ** -10;
