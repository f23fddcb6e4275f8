/**
 * What the image and the text tower share: linear layers, norms, activations and attention.
 * Two flavours: "portable" is standard operators only; "ort" uses ONNX Runtime's fused ones (com.microsoft), which other
 * runtimes do not know.
 */
import type { Graph, Value } from "./graph.ts";
import { type Take, transposed, type Weight } from "./weights.ts";

export type Flavour = "portable" | "ort";

export function linear(graph: Graph, take: Take, name: string, x: Value): Value {
  const bias = take(`${name}.bias`);
  return graph.op("Add", [product(graph, take(`${name}.weight`), x, bias.length), graph.weight(bias, [bias.length])]);
}

/** x times a kernel [out, from]. */
export function product(graph: Graph, kernel: Weight, x: Value, out: number): Value {
  return graph.op("MatMul", [x, graph.weight(transposed(kernel, out), [kernel.length / out, out])]);
}

export function norm(graph: Graph, take: Take, name: string, x: Value, eps: number): Value {
  const [scale, bias] = [take(`${name}.weight`), take(`${name}.bias`)];
  const inputs = [x, graph.weight(scale, [scale.length]), graph.weight(bias, [bias.length])];
  return graph.op("LayerNormalization", inputs, { axis: -1, epsilon: { float: eps } });
}

/** x·(1 + erf(x / √2)) / 2; a standard Gelu operator comes only with opset 20. */
export function exactGelu(graph: Graph, flavour: Flavour, x: Value): Value {
  if (flavour === "ort") return graph.op("com.microsoft.Gelu", [x]);
  const phi = graph.op("Add", [graph.op("Erf", [graph.op("Mul", [x, graph.floats([Math.SQRT1_2], [])])]), graph.floats([1], [])]);
  return graph.op("Mul", [graph.op("Mul", [x, graph.floats([0.5], [])]), phi]);
}

/** x·sigmoid(x); the runtime's QuickGelu is x·sigmoid(alpha·x). */
export function silu(graph: Graph, flavour: Flavour, x: Value): Value {
  if (flavour === "ort") return graph.op("com.microsoft.QuickGelu", [x], { alpha: { float: 1 } });
  return graph.op("Mul", [x, graph.op("Sigmoid", [x])]);
}

export type AttendOptions = {
  graph: Graph;
  flavour: Flavour;
  /** [n, tokens, 3·heads·headDim]: q (already scaled), k, v. */
  qkv: Value;
  heads: number;
  headDim: number;
  tokens: number;
  /** Turns q and k by their positions; given rows [n, tokens, width] or heads [n, heads, tokens, headDim]. */
  turn: (value: Value, shape: "rows" | "heads") => Value;
  /** Added to the scores, [1, 1, tokens, tokens]. */
  bias: Value | null;
};

/** softmax(q·kᵀ + bias)·v → [n, tokens, width]. */
export function attend({ graph, flavour, qkv, heads, headDim, tokens, turn, bias }: AttendOptions): Value {
  const width = heads * headDim;
  if (flavour === "ort") {
    const [q, k, v] = graph.split(qkv, 2, [width, width, width]) as [Value, Value, Value];
    const inputs = [turn(q, "rows"), turn(k, "rows"), v, ...(bias ? ["", "", bias] : [])];
    return graph.op("com.microsoft.MultiHeadAttention", inputs, { num_heads: heads, scale: { float: 1 } });
  }
  const rows = graph.transpose(graph.reshape(qkv, [0, tokens, 3 * heads, headDim]), [0, 2, 1, 3]);
  const [q, k, v] = graph.split(rows, 1, [heads, heads, heads]) as [Value, Value, Value];
  const scores = graph.op("MatMul", [turn(q, "heads"), graph.transpose(turn(k, "heads"), [0, 1, 3, 2])]);
  const weights = graph.op("Softmax", [bias ? graph.op("Add", [scores, bias]) : scores], { axis: -1 });
  return graph.reshape(graph.transpose(graph.op("MatMul", [weights, v]), [0, 2, 1, 3]), [0, tokens, width]);
}
