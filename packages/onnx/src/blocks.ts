/**
 * What the image and the text tower share: norms, activations and attention.
 * Two flavours: "portable" is standard operators only; "ort" uses ONNX Runtime's fused ones (com.microsoft), which other
 * runtimes do not know.
 */
import { type Builder, constants } from "./feed.ts";
import type { Graph, Value } from "./graph.ts";
import type { Take } from "./weights.ts";

export function norm(graph: Graph, take: Take, name: string, x: Value, eps: number): Value {
  const [scale, bias] = [take(`${name}.weight`), take(`${name}.bias`)];
  const inputs = [x, graph.weight(scale, [scale.length]), graph.weight(bias, [bias.length])];
  return graph.op("LayerNormalization", inputs, { axis: -1, epsilon: { float: eps } });
}

/** x·(1 + erf(x / √2)) / 2; a standard Gelu operator comes only with opset 20. */
export function exactGelu(builder: Builder, x: Value): Value {
  const { graph, flavour } = builder;
  if (flavour === "ort") return graph.op("com.microsoft.Gelu", [x]);
  const number = (value: number) => constants(builder, [value], []);
  const phi = graph.op("Add", [graph.op("Erf", [graph.op("Mul", [x, number(Math.SQRT1_2)])]), number(1)]);
  return graph.op("Mul", [graph.op("Mul", [x, number(0.5)]), phi]);
}

/** x·sigmoid(x); the runtime's QuickGelu is x·sigmoid(alpha·x). */
export function silu({ graph, flavour }: Builder, x: Value): Value {
  if (flavour === "ort") return graph.op("com.microsoft.QuickGelu", [x], { alpha: { float: 1 } });
  return graph.op("Mul", [x, graph.op("Sigmoid", [x])]);
}

export type AttendOptions = {
  builder: Builder;
  /** q (already scaled), k and v: [n, rows, heads·headDim]. */
  q: Value;
  k: Value;
  v: Value;
  heads: number;
  headDim: number;
  /** Rows of q, and of k and v. */
  queries: number;
  tokens: number;
  /** Turns k, and q unless it is one row that keeps its place; rows [n, tokens, width] or heads [n, heads, tokens, headDim]. */
  turn: (value: Value, shape: "rows" | "heads") => Value;
  /** Added to the scores, [1 or n, 1, queries, tokens]. */
  bias: Value | null;
};

/** softmax(q·kᵀ + bias)·v → [n, queries, width]. */
export function attend(options: AttendOptions): Value {
  const { builder, q, k, v, heads, headDim, queries, tokens, turn, bias } = options;
  const { graph, flavour } = builder;
  const turned = (value: Value, shape: "rows" | "heads") => (queries === tokens ? turn(value, shape) : value);
  if (flavour === "ort") {
    const inputs = [turned(q, "rows"), turn(k, "rows"), v];
    if (graph.opset === 17) {
      const all = [...inputs, ...(bias ? ["", "", bias] : [])];
      return graph.op("com.microsoft.MultiHeadAttention", all, { num_heads: heads, scale: { float: 1 } });
    }
    const attributes = { q_num_heads: heads, kv_num_heads: heads, scale: { float: 1 } };
    return graph.op("Attention", bias ? [...inputs, bias] : inputs, attributes);
  }
  const apart = (value: Value, rows: number) => graph.transpose(graph.reshape(value, [0, rows, heads, headDim]), [0, 2, 1, 3]);
  const keys = graph.transpose(turn(apart(k, tokens), "heads"), [0, 1, 3, 2]);
  const scores = graph.op("MatMul", [turned(apart(q, queries), "heads"), keys]);
  const weights = graph.op("Softmax", [bias ? graph.op("Add", [scores, bias]) : scores], { axis: -1 });
  const mixed = graph.op("MatMul", [weights, apart(v, tokens)]);
  return graph.reshape(graph.transpose(mixed, [0, 2, 1, 3]), [0, queries, heads * headDim]);
}
