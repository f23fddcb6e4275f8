/**
 * CLIP's text tower as an ONNX graph: causal attention, exact GELU, the end token's row times text_projection.
 * In: `input_ids` [n, context] int64. Out: `text_embeds` [n, D] of length 1.
 */
import type { ModelConfig } from "@kenpin/clip";
import { vocabularySize } from "@kenpin/clip";
import { linear, norm } from "./eva-vision.ts";
import { Graph, type Value } from "./graph.ts";
import { take, transposed, type Weights } from "./weights.ts";

const EPS = 1e-5;

export function textGraph({ config, weights }: { config: ModelConfig; weights: Weights }): Uint8Array {
  const { width, layers, context } = config.text;
  const graph = new Graph();
  const ids = graph.input("input_ids", "int64", ["n", context]);
  const table = graph.weights(take(weights, "text.token_embedding.weight"), [vocabularySize(config), width]);
  const positions = graph.weights(take(weights, "text.positional_embedding"), [1, context, width]);
  let x = graph.op("Add", [graph.op("Gather", [table, ids], { axis: 0 }), positions]);
  const future = Float32Array.from({ length: context * context }, (_, i) => (i % context > Math.floor(i / context) ? -1e9 : 0));
  const causal = graph.weights(future, [1, 1, context, context]);
  for (let i = 0; i < layers; i++) {
    const block = `text.transformer.resblocks.${i}.`;
    x = graph.op("Add", [x, attention(graph, config, weights, `${block}attn.`, norm(graph, weights, `${block}ln_1`, x, EPS), causal)]);
    const hidden = gelu(graph, linear(graph, weights, `${block}mlp.c_fc`, norm(graph, weights, `${block}ln_2`, x, EPS)));
    x = graph.op("Add", [x, linear(graph, weights, `${block}mlp.c_proj`, hidden)]);
  }
  // The end token has the largest id: its row is picked by a product with a one-hot row.
  const end = graph.op("ArgMax", [ids], { axis: 1, keepdims: 1 });
  const oneHot = graph.op("OneHot", [end, graph.integers([context], []), graph.weights(new Float32Array([0, 1]), [2])], { axis: -1 });
  const row = graph.reshape(graph.op("MatMul", [oneHot, x]), [0, width]);
  const projection = graph.weights(take(weights, "text.text_projection"), [width, config.embedDim]);
  const out = graph.op("MatMul", [norm(graph, weights, "text.ln_final", row, EPS), projection]);
  graph.output("text_embeds", graph.normalise(out), ["n", config.embedDim]);
  return graph.encode(`${config.name}-text`);
}

function attention(graph: Graph, { text }: ModelConfig, weights: Weights, name: string, x: Value, causal: Value): Value {
  const { width, heads, context } = text;
  const headDim = width / heads;
  const kernel = graph.weights(transposed(take(weights, `${name}in_proj_weight`), 3 * width), [width, 3 * width]);
  const qkv = graph.op("Add", [graph.op("MatMul", [x, kernel]), graph.weights(take(weights, `${name}in_proj_bias`), [3 * width])]);
  const split = graph.transpose(graph.reshape(qkv, [0, context, 3 * heads, headDim]), [0, 2, 1, 3]);
  const [q, k, v] = graph.split(split, 1, [heads, heads, heads]) as [Value, Value, Value];
  const scores = graph.op("MatMul", [q, graph.transpose(k, [0, 1, 3, 2])]);
  const masked = graph.op("Add", [graph.op("Mul", [scores, graph.weights(new Float32Array([headDim ** -0.5]), [])]), causal]);
  const mixed = graph.op("MatMul", [graph.op("Softmax", [masked], { axis: -1 }), v]);
  return linear(graph, weights, `${name}out_proj`, graph.reshape(graph.transpose(mixed, [0, 2, 1, 3]), [0, context, width]));
}

/** x·(1 + erf(x / √2)) / 2; a standard Gelu operator comes only with opset 20. */
function gelu(graph: Graph, x: Value): Value {
  const constant = (value: number) => graph.weights(new Float32Array([value]), []);
  const phi = graph.op("Add", [graph.op("Erf", [graph.op("Mul", [x, constant(Math.SQRT1_2)])]), constant(1)]);
  return graph.op("Mul", [graph.op("Mul", [x, constant(0.5)]), phi]);
}
