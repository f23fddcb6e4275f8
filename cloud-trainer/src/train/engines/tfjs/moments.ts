/**
 * The two moments that LAMB and Adam share, m ← β1·m + (1 − β1)·g and v ← β2·v + (1 − β2)·g², and the direction they give,
 *   (m / c1) / (√(v / c2) + ε) = a · m / (√v + ε')      a = √c2 / c1      ε' = ε · √c2
 * with c1 = 1 − β1ᵗ and c2 = 1 − β2ᵗ, or both 1 without bias correction: what is a factor of all is one number at the end.
 * On tfjs-node one TensorFlow kernel (ResourceApplyAdam) does all of it in place; elsewhere tfjs's operations do.
 */
import type { Tensor, Tensor2D, Tf } from "./backend.ts";

export type MomentOptions = { beta1: number; beta2: number; eps: number };
export type Advance = {
  g: Tensor2D;
  /** The step from 1; null leaves out the bias correction. */
  correctedStep: number | null;
  /** A factor of the direction, and what it is added to; nothing where it is null. */
  factor: number;
  start: Tensor2D | null;
};
export type Moments = {
  /** Takes a gradient in; answers with start + factor · direction. */
  advance: (input: Advance) => Tensor2D;
  read: () => { m: Tensor2D; v: Tensor2D };
  dispose: () => void;
};

export function createMoments(tf: Tf, options: MomentOptions, from: { m: Tensor2D; v: Tensor2D }): Moments {
  return tf.getBackend() === "tensorflow" ? momentsInPlace(tf, options, from) : portableMoments(tf, options, from);
}

function portableMoments(tf: Tf, options: MomentOptions, from: { m: Tensor2D; v: Tensor2D }): Moments {
  const { beta1, beta2 } = options;
  let [m, v] = [tf.keep(tf.clone(from.m)), tf.keep(tf.clone(from.v))];
  return {
    advance: ({ g, correctedStep, factor, start }) =>
      tf.tidy(() => {
        const [nextM, nextV] = [
          tf.keep(tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1))),
          tf.keep(tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2))),
        ] as [Tensor2D, Tensor2D];
        tf.dispose([m, v]);
        [m, v] = [nextM, nextV];
        const { a, eps } = factors(options, correctedStep, [1, 1]);
        const direction: Tensor2D = tf.mul(tf.div(m, tf.add(tf.sqrt(v), eps)), a * factor);
        return start ? tf.add(start, direction) : direction;
      }),
    read: () => ({ m: tf.clone(m), v: tf.clone(v) }),
    dispose: () => tf.dispose([m, v]),
  };
}

/** a and ε' where the stored moments are too small by k1 and k2. */
function factors({ beta1, beta2, eps }: MomentOptions, step: number | null, [k1, k2]: [number, number]): { a: number; eps: number } {
  const [c1, c2] = step === null ? [1, 1] : [1 - beta1 ** step, 1 - beta2 ** step];
  const root = Math.sqrt(c2 / k2);
  return { a: (k1 / c1) * root, eps: eps * root };
}

type Attribute = { name: string; type: number; value: unknown };
/** What tfjs-node's back end has beyond tfjs's: any of TensorFlow's kernels by name. */
export type RawBackend = {
  binding: Record<"TF_ATTR_TYPE" | "TF_ATTR_SHAPE" | "TF_ATTR_STRING" | "TF_ATTR_BOOL" | "TF_FLOAT", number>;
  executeMultipleOutputs: (name: string, attributes: Attribute[], inputs: Tensor[], outputs: number) => Tensor[];
};

let made = 0;

/** m, v and the direction are TensorFlow variables, which its kernel changes where they are. */
function momentsInPlace(tf: Tf, options: MomentOptions, from: { m: Tensor2D; v: Tensor2D }): Moments {
  const { beta1, beta2 } = options;
  const variables = resources(tf, from.m.shape);
  const [m, v, direction] = [variables.create(), variables.create(), variables.create()];
  variables.assign(m, from.m);
  variables.assign(v, from.v);
  // The kernel works out 1 − β from β in float32, which for 0.999 is off by 1.3e-5.
  const k: [number, number] = [(1 - beta1) / (1 - Math.fround(beta1)), (1 - beta2) / (1 - Math.fround(beta2))];
  return {
    advance: ({ g, correctedStep, factor, start }) =>
      tf.tidy(() => {
        variables.assign(direction, start ?? (tf.fill(g.shape, 0) as Tensor2D));
        start?.dispose(); // its memory is the variable's alone now, so that the kernel needs no copy
        const { a, eps } = factors(options, correctedStep, k);
        // var ← var − lr · m / (√v + ε), with no bias correction of its own where the powers of β are 0
        const numbers = [0, 0, -a * factor, beta1, beta2, eps].map((number) => tf.scalar(number));
        variables.applyAdam([direction, m, v, ...numbers, g]);
        return variables.read(direction);
      }),
    read: () => ({ m: variables.read(m), v: variables.read(v) }),
    dispose: () => variables.destroy([m, v, direction]),
  };
}

/** TensorFlow's variables of one shape: each is a tensor that stands for it. */
function resources(tf: Tf, shape: number[]) {
  const backend = tf.backend() as unknown as RawBackend;
  const { binding } = backend;
  const attribute = (name: string, type: "TYPE" | "SHAPE" | "STRING" | "BOOL", value: unknown): Attribute => ({
    name,
    type: binding[`TF_ATTR_${type}`],
    value,
  });
  const dtype = attribute("dtype", "TYPE", binding.TF_FLOAT);
  const flag = (name: string, value = false) => attribute(name, "BOOL", value);
  const run = (name: string, attributes: Attribute[], inputs: Tensor[], outputs = 0) =>
    backend.executeMultipleOutputs(name, attributes, inputs, outputs);
  return {
    create: (): Tensor => {
      const names = [attribute("container", "STRING", ""), attribute("shared_name", "STRING", `kenpin-moments-${made++}`)];
      return tf.keep(run("VarHandleOp", [dtype, attribute("shape", "SHAPE", shape), ...names], [], 1)[0] as Tensor);
    },
    assign: (variable: Tensor, value: Tensor2D) => run("AssignVariableOp", [dtype], [variable, value]),
    read: (variable: Tensor) => run("ReadVariableOp", [dtype], [variable], 1)[0] as Tensor2D,
    applyAdam: (inputs: Tensor[]) =>
      run("ResourceApplyAdam", [attribute("T", "TYPE", binding.TF_FLOAT), flag("use_locking"), flag("use_nesterov")], inputs),
    destroy: (variables: Tensor[]) => {
      for (const variable of variables) {
        run("DestroyResourceOp", [flag("ignore_lookup_error", true)], [variable]); // one that was never assigned does not exist
        variable.dispose();
      }
    },
  };
}
