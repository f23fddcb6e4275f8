/**
 * CLIP's text tower as an ONNX graph: causal attention, exact GELU, the end token's row times text_projection.
 * In: `input_ids` [n, context] int64. Out: `text_embeds` [n, D] of length 1. The last block computes the end token's row
 * alone, since nothing else is read.
 */
import type { ModelConfig } from "@kenpin/clip";
import { vocabularySize } from "@kenpin/clip";
import { attend, exactGelu } from "./blocks.ts";
import { type Builder, constants, feed, isEightBit, products, table, toFloat } from "./feed.ts";
import { type Flavour, Graph, type Value } from "./graph.ts";
import { halfWeight } from "./half.ts";
import type { Model } from "./model.ts";
import type { PlaceName, QuantPlan, Taps } from "./quant-plan.ts";
import { roundedRows } from "./rounded.ts";
import { joined, part, scaled, tensorsOf, transposed, type Weight, type Weights, zeros } from "./weights.ts";

const EPS = 1e-5;
const PROJECTION = "text.text_projection";
/** Far below any score, yet finite, also in half precision: two of them still add up to a number. */
const NEVER = -3e4;

export type TextModelOptions = { config: ModelConfig; flavour?: Flavour; plan?: QuantPlan | undefined; taps?: Taps | undefined };
type Tower = Builder & { text: ModelConfig["text"] };
/** Picks one row of each text: [n, context, w] → [n, 1, w]. */
type Pick = (value: Value) => Value;

export function textGraph({ weights, ...options }: TextModelOptions & { weights: Weights }): Uint8Array {
  return textModel(options).encode(weights);
}

export function textModel({ config, flavour = "portable", plan, taps }: TextModelOptions): Model {
  const { width, layers, context } = config.text;
  const graph = new Graph(flavour === "ort" && isEightBit(plan ?? null) ? 23 : 17);
  const take = tensorsOf(config);
  const tower: Tower = { graph, take, flavour, plan: plan ?? null, taps: taps ?? null, centred: false, text: config.text };
  const ids = graph.input("input_ids", "int64", ["n", context]);
  let x = graph.op("Add", [embedded(tower, ids, vocabularySize(config)), table(tower, take("text.positional_embedding"), width)]);
  const future = Float32Array.from({ length: context * context }, (_, i) => (i % context > Math.floor(i / context) ? NEVER : 0));
  const causal = constants(tower, future, [1, 1, context, context]);
  // The end token has the largest id: its row is picked by a product with a one-hot row.
  const end = graph.op("ArgMax", [ids], { axis: 1, keepdims: 1 });
  const oneHot = graph.op("OneHot", [end, graph.integers([context], []), graph.floats([0, 1], [2])], { axis: -1 });
  const pick: Pick = (value) => graph.op("MatMul", [oneHot, value]);
  for (let i = 0; i < layers; i++) {
    const name = `text.transformer.resblocks.${i}.`;
    if (i < layers - 1) x = block(tower, name, x, causal, null);
    else {
      const mask = graph.reshape(graph.op("MatMul", [oneHot, graph.floats(future, [context, context])]), [0, 1, 1, context]);
      x = block(tower, name, x, tower.plan?.scheme === "fp16" ? graph.cast(mask, "half") : mask, pick);
    }
  }
  const out = graph.reshape(projected(tower, x, config.embedDim), [0, config.embedDim]);
  graph.output("text_embeds", graph.normalise(out), ["n", config.embedDim]);
  return graph.finish(`${config.name}-text`);
}

/** The places of a text tower, in order: what a plan may name, and whether a norm before it can take a smoothing. */
export function textPlaces({ text }: ModelConfig): PlaceName[] {
  const inBlock = { "attn.in_proj": true, "attn.out_proj": false, "mlp.c_fc": true, "mlp.c_proj": false };
  const blocks = Array.from({ length: text.layers }, (_, i) =>
    Object.entries(inBlock).map(([name, smoothable]) => ({ name: `text.transformer.resblocks.${i}.${name}`, smoothable })),
  );
  return [...blocks.flat(), { name: PROJECTION, smoothable: true }];
}

/** Rows of the token table: [n, context, w]. Rounded rows come with a scale each, picked by the same ids. */
function embedded({ graph, take, text, plan }: Tower, ids: Value, vocabulary: number): Value {
  const words = take("text.token_embedding.weight");
  const shape = [vocabulary, text.width];
  if (!plan?.embeddings) return graph.op("Gather", [graph.weight(words, shape), ids], { axis: 0 });
  if (plan.scheme === "fp16")
    return graph.cast(graph.op("Gather", [graph.made("half", shape, halfWeight(words)), ids], { axis: 0 }), "float");
  const { codes, scales } = roundedRows(words, text.width);
  const rows = graph.cast(graph.op("Gather", [graph.made("int8", shape, codes), ids], { axis: 0 }), "float");
  return graph.op("Mul", [rows, graph.op("Gather", [graph.made("float", [vocabulary, 1], scales), ids], { axis: 0 })]);
}

/** The last norm and text_projection, which has no bias and stands as [width, D] already. */
function projected(tower: Tower, x: Value, embedDim: number): Value {
  const { graph, take, text, plan } = tower;
  const projection = take(PROJECTION);
  const last = { name: "text.ln_final", eps: EPS, residual: true };
  const fed = feed(tower, { name: PROJECTION, tokens: 1 }, x, last);
  if (!plan && !tower.taps) return graph.op("MatMul", [fed.value, graph.weight(projection, [text.width, embedDim])]);
  const product = { kernel: transposed(projection, text.width), bias: zeros(embedDim), columns: [{ from: 0, to: embedDim }] };
  return toFloat(tower, products(tower, fed, product)[0] as Value);
}

function block(tower: Tower, name: string, x: Value, mask: Value, pick: Pick | null): Value {
  const { graph, take, text } = tower;
  const { width, heads, context } = text;
  const [quiet, queries] = [{ ...tower, taps: null }, pick ? 1 : context];
  const ln = (letter: string) => ({ name: `${name}${letter}`, eps: EPS, residual: true });
  const columns = [0, 1, 2].map((i) => ({ from: i * width, to: (i + 1) * width }));
  const qkv = {
    kernel: scaledFirst(take(`${name}attn.in_proj_weight`), width / heads),
    bias: scaledFirst(take(`${name}attn.in_proj_bias`), width / heads),
  };
  const place = { name: `${name}attn.in_proj`, tokens: context };
  let [q, k, v] = products(tower, feed(tower, place, x, ln("ln_1")), { ...qkv, columns: pick ? columns.slice(1) : columns }) as [
    Value,
    Value,
    Value,
  ];
  const rest = pick ? pick(x) : x;
  if (pick) {
    [k, v] = [q, k];
    q = products(quiet, feed(quiet, { name: place.name, tokens: 1 }, rest, ln("ln_1")), {
      ...qkv,
      columns: columns.slice(0, 1),
    })[0] as Value;
  }
  const turn = (value: Value) => value;
  const attended = attend({ builder: tower, q, k, v, heads, headDim: width / heads, queries, tokens: context, turn, bias: mask });
  const one = (at: string, value: Value, kernel: string, out: number) =>
    linear(tower, { name: `${name}${at}`, tokens: queries }, value, `${name}${kernel}`, out);
  const sum = graph.op("Add", [rest, one("attn.out_proj", toFloat(tower, attended), "attn.out_proj", width)]);
  const hidden = take(`${name}mlp.c_fc.bias`).length;
  const fc = { kernel: take(`${name}mlp.c_fc.weight`), bias: take(`${name}mlp.c_fc.bias`), columns: [{ from: 0, to: hidden }] };
  const [raw] = products(tower, feed(tower, { name: `${name}mlp.c_fc`, tokens: queries }, sum, ln("ln_2")), fc) as [Value];
  return graph.op("Add", [sum, one("mlp.c_proj", toFloat(tower, exactGelu(tower, raw)), "mlp.c_proj", width)]);
}

function linear(tower: Tower, place: { name: string; tokens: number }, x: Value, name: string, out: number): Value {
  const product = { kernel: tower.take(`${name}.weight`), bias: tower.take(`${name}.bias`), columns: [{ from: 0, to: out }] };
  return toFloat(tower, products(tower, feed(tower, place, x), product)[0] as Value);
}

/** q's third times the attention scale. */
function scaledFirst(weight: Weight, headDim: number): Weight {
  const third = weight.length / 3;
  return joined([scaled(part(weight, 0, third), headDim ** -0.5), part(weight, third, weight.length)]);
}
