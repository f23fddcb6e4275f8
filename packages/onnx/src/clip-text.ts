/**
 * CLIP's text tower as an ONNX graph: causal attention, exact GELU, the end token's row times text_projection.
 * In: `input_ids` [n, context] int64. Out: `text_embeds` [n, D] of length 1.
 */
import type { ModelConfig } from "@kenpin/clip";
import { vocabularySize } from "@kenpin/clip";
import { attend, exactGelu, type Flavour, linear, norm, product } from "./blocks.ts";
import { Graph, type Value } from "./graph.ts";
import type { Model } from "./model.ts";
import { joined, part, scaled, type Take, tensorsOf, type Weight, type Weights } from "./weights.ts";

const EPS = 1e-5;
/** Far below any score, yet finite: two of them still add up to a number. */
const NEVER = -1e9;

export type TextModelOptions = { config: ModelConfig; flavour?: Flavour };

export function textGraph({ weights, ...options }: TextModelOptions & { weights: Weights }): Uint8Array {
  return textModel(options).encode(weights);
}

export function textModel({ config, flavour = "portable" }: TextModelOptions): Model {
  const { width, heads, layers, context } = config.text;
  const graph = new Graph();
  const take = tensorsOf(config);
  const ids = graph.input("input_ids", "int64", ["n", context]);
  const table = graph.weight(take("text.token_embedding.weight"), [vocabularySize(config), width]);
  const positions = graph.weight(take("text.positional_embedding"), [1, context, width]);
  let x = graph.op("Add", [graph.op("Gather", [table, ids], { axis: 0 }), positions]);
  const future = Float32Array.from({ length: context * context }, (_, i) => (i % context > Math.floor(i / context) ? NEVER : 0));
  const causal = graph.floats(future, [1, 1, context, context]);
  for (let i = 0; i < layers; i++) {
    const block = `text.transformer.resblocks.${i}.`;
    const qkv = qkvRows(graph, take, `${block}attn.`, norm(graph, take, `${block}ln_1`, x, EPS), width, width / heads);
    const mixed = attend({ graph, flavour, qkv, heads, headDim: width / heads, tokens: context, turn: (value) => value, bias: causal });
    x = graph.op("Add", [x, linear(graph, take, `${block}attn.out_proj`, mixed)]);
    const hidden = exactGelu(graph, flavour, linear(graph, take, `${block}mlp.c_fc`, norm(graph, take, `${block}ln_2`, x, EPS)));
    x = graph.op("Add", [x, linear(graph, take, `${block}mlp.c_proj`, hidden)]);
  }
  // The end token has the largest id: its row is picked by a product with a one-hot row.
  const end = graph.op("ArgMax", [ids], { axis: 1, keepdims: 1 });
  const oneHot = graph.op("OneHot", [end, graph.integers([context], []), graph.floats([0, 1], [2])], { axis: -1 });
  const row = graph.reshape(graph.op("MatMul", [oneHot, x]), [0, width]);
  const projection = graph.weight(take("text.text_projection"), [width, config.embedDim]);
  const out = graph.op("MatMul", [norm(graph, take, "text.ln_final", row, EPS), projection]);
  graph.output("text_embeds", graph.normalise(out), ["n", config.embedDim]);
  return graph.finish(`${config.name}-text`);
}

/** One product for q (times the attention scale), k and v. */
function qkvRows(graph: Graph, take: Take, name: string, x: Value, width: number, headDim: number): Value {
  const [kernel, bias] = [take(`${name}in_proj_weight`), take(`${name}in_proj_bias`)];
  const scaledFirst = (weight: Weight) => {
    const third = weight.length / 3;
    return joined([scaled(part(weight, 0, third), headDim ** -0.5), part(weight, third, weight.length)]);
  };
  return graph.op("Add", [product(graph, scaledFirst(kernel), x, 3 * width), graph.weight(scaledFirst(bias), [3 * width])]);
}
