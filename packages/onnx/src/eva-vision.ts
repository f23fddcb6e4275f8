/**
 * The image towers of the EVA-CLIP family (arXiv 2303.15389, 2303.11331) as an ONNX graph.
 *
 * In: `pixel_values` [n, 3, S, S]. Out: `image_embeds` [n, D], `patch_embeds` [n, P, D] (every patch token through the
 * final norm and head) and `patch_tokens` [n, P, L·W] (the tokens after the given blocks, for a memory bank); all of
 * length 1. Positions, rotary angles and the attention scale are constants; the class token enters with its position.
 * Without patch outputs the last block computes the class token's row alone.
 */
import type { ModelConfig } from "@kenpin/clip";
import { attend, exactGelu, norm, silu } from "./blocks.ts";
import { type Builder, constants, feed, isEightBit, products, table, toFloat } from "./feed.ts";
import { type Flavour, Graph, type Value } from "./graph.ts";
import { halfNumbers } from "./half.ts";
import type { Model } from "./model.ts";
import type { PlaceName, QuantPlan, Taps } from "./quant-plan.ts";
import { addedInFront, halvesTogether, joined, part, scaled, tensorsOf, type Weight, type Weights, zeros } from "./weights.ts";

export type VisionModelOptions = {
  config: ModelConfig;
  /** Blocks, from 0, whose tokens become `patch_tokens`. */
  layers?: number[];
  patchEmbeds?: boolean;
  flavour?: Flavour;
  /** Fewer bits; without it everything is float32. */
  plan?: QuantPlan | undefined;
  /** Outputs for calibration, beside the others. */
  taps?: Taps | undefined;
};
export type VisionGraphOptions = VisionModelOptions & { weights: Weights };

export type Tower = Builder & { image: ModelConfig["image"]; tokens: number };
export type Rotary = { cos: Value; sin: Value };

export const TRUNK = "visual.trunk.";

export function visionGraph({ weights, ...options }: VisionGraphOptions): Uint8Array {
  return visionModel(options).encode(weights);
}

export function visionModel(options: VisionModelOptions): Model {
  const { config, layers = [], patchEmbeds = true } = options;
  const { image, embedDim } = config;
  const tower = openTower(options);
  const { graph, tokens } = tower;
  let x = patchTokens(tower);
  const rotary = image.rotary ? rotaryConstants(tower) : null;
  const kept: Value[] = [];
  let rows = tokens;
  for (let i = 0; i < image.depth; i++) {
    const first = i === image.depth - 1 && !patchEmbeds && !layers.includes(i);
    x = block(tower, `${TRUNK}blocks.${i}.`, x, rotary, first);
    if (first) rows = 1;
    if (layers.includes(i)) kept.push(graph.normalise(graph.slice(x, 1, 1, tokens)));
  }
  const out = embeds(tower, patchEmbeds || rows === 1 ? x : graph.slice(x, 1, 0, 1), rows);
  const image1 = patchEmbeds ? graph.slice(out, 1, 0, 1) : out;
  graph.output("image_embeds", graph.reshape(image1, [0, embedDim]), ["n", embedDim]);
  if (patchEmbeds) graph.output("patch_embeds", graph.slice(out, 1, 1, tokens), ["n", tokens - 1, embedDim]);
  if (kept.length > 0) {
    const all = kept.length === 1 ? (kept[0] as Value) : graph.normalise(graph.op("Concat", kept, { axis: 2 }));
    graph.output("patch_tokens", all, ["n", tokens - 1, kept.length * image.width]);
  }
  return graph.finish(config.name);
}

/** The final norm and the head, brought to length 1: [n, rows, width] → [n, rows, D]. */
export function embeds(tower: Tower, x: Value, rows: number): Value {
  const { graph, take, image } = tower;
  const fed = feed(tower, { name: `${TRUNK}head`, tokens: rows }, x, { name: `${TRUNK}norm`, eps: image.normEps, residual: true });
  const bias = take(`${TRUNK}head.bias`);
  const head = { kernel: take(`${TRUNK}head.weight`), bias, columns: [{ from: 0, to: bias.length }] };
  return graph.normalise(toFloat(tower, products(tower, fed, head)[0] as Value));
}

/** The places of an image tower, in order: what a plan may name, and whether a norm before it can take a smoothing. */
export function visionPlaces({ image }: ModelConfig): PlaceName[] {
  const { norm: at, subNorm } = image;
  const inBlock = { "attn.qkv": at === "pre", "attn.proj": subNorm, "mlp.fc1": at === "pre", "mlp.fc2": image.mlp === "swiglu" };
  const blocks = Array.from({ length: image.depth }, (_, i) =>
    Object.entries(inBlock).map(([name, smoothable]) => ({ name: `${TRUNK}blocks.${i}.${name}`, smoothable })),
  );
  return [{ name: `${TRUNK}patch_embed.proj`, smoothable: false }, ...blocks.flat(), { name: `${TRUNK}head`, smoothable: true }];
}

export function openTower({ config, layers = [], flavour = "portable", ...asked }: VisionModelOptions): Tower {
  const { image } = config;
  const [plan, taps] = [asked.plan ?? null, asked.taps ?? null];
  // The mean of the residual stream is free where every reader takes it off, and `patch_tokens` is read by somebody else.
  const centred = isEightBit(plan) && plan?.scheme !== "qdq" && image.norm === "pre" && layers.length === 0;
  const opset = flavour === "ort" && isEightBit(plan) ? 23 : 17;
  const tokens = (image.size / image.patch) ** 2 + 1;
  return { graph: new Graph(opset), take: tensorsOf(config), flavour, plan, taps, centred, image, tokens };
}

/** Patches with the class token in front, positions added: [n, tokens, width]. */
export function patchTokens(tower: Tower): Value {
  const { graph, take, image } = tower;
  const { size, patch, width } = image;
  const grid = size / patch;
  const pixels = graph.input("pixel_values", "float", ["n", 3, size, size]);
  const split = graph.transpose(graph.reshape(pixels, [0, 3, grid, patch, grid, patch]), [0, 2, 4, 1, 3, 5]);
  const rows = graph.reshape(split, [0, grid * grid, 3 * patch * patch]);
  const fed = feed(tower, { name: `${TRUNK}patch_embed.proj`, tokens: grid * grid }, rows);
  const [kernel, bias] = [take(`${TRUNK}patch_embed.proj.weight`), take(`${TRUNK}patch_embed.proj.bias`)];
  const [embedded] = products(tower, fed, { kernel, bias, columns: [{ from: 0, to: width }], writesResidual: true }) as [Value];
  // A zero row in front; the first position carries the class token, so no shape has to be expanded to the batch.
  const padded = graph.op("Pad", [toFloat(tower, embedded), graph.integers([0, 1, 0, 0, 0, 0])]);
  const positions = addedInFront(take(`${TRUNK}pos_embed`), take(`${TRUNK}cls_token`));
  return graph.op("Add", [padded, table(tower, positions, width)]);
}

export function block(tower: Tower, name: string, x: Value, rotary: Rotary | null, firstOnly: boolean): Value {
  const { graph, take, image } = tower;
  const pre = image.norm === "pre";
  const before = (norm: string) => (pre ? { name: `${name}${norm}`, eps: image.normEps, residual: true } : null);
  const after = (norm_: string, value: Value) => (pre ? value : norm(graph, take, `${name}${norm_}`, value, image.normEps));
  const mixed = attention(tower, { name: `${name}attn.`, x, norm: before("norm1"), rotary, firstOnly });
  const sum = graph.op("Add", [firstOnly ? graph.slice(x, 1, 0, 1) : x, after("norm1", mixed)]);
  const thought = mlp(tower, { name: `${name}mlp.`, x: sum, norm: before("norm2"), tokens: firstOnly ? 1 : tower.tokens });
  // Add and the last norm, which alone reads it, would be fused into SkipLayerNormalization: three times as slow on a CPU.
  const lastOne = name === `${TRUNK}blocks.${image.depth - 1}.` && tower.flavour === "ort";
  return graph.op(lastOne ? "Sum" : "Add", [sum, after("norm2", thought)]);
}

type Reading = { name: string; x: Value; norm: { name: string; eps: number; residual: boolean } | null };

function attention(tower: Tower, { name, x, norm: before, rotary, firstOnly }: Reading & { rotary: Rotary | null; firstOnly: boolean }) {
  const { graph, take, image, tokens } = tower;
  const { width, headDim, normEps } = image;
  const place = { name: `${name}qkv`, tokens };
  const qkv = { kernel: qkvKernel(tower, name), bias: qkvBias(tower, name) };
  const columns = [0, 1, 2].map((i) => ({ from: i * width, to: (i + 1) * width }));
  const all = feed(tower, place, x, before);
  const queries = firstOnly ? 1 : tokens;
  let [q, k, v] = products(tower, all, { ...qkv, columns: firstOnly ? columns.slice(1) : columns }) as [Value, Value, Value];
  if (firstOnly) {
    [k, v] = [q, k];
    const row = feed({ ...tower, taps: null }, { name: place.name, tokens: 1 }, graph.slice(x, 1, 0, 1), before);
    q = products({ ...tower, taps: null }, row, { ...qkv, columns: columns.slice(0, 1) })[0] as Value;
  }
  const turn = (value: Value, shape: "rows" | "heads") => (rotary ? rotate(tower, value, rotary, shape) : value);
  const mixed = toFloat(tower, attend({ builder: tower, q, k, v, heads: width / headDim, headDim, queries, tokens, turn, bias: null }));
  const sub = image.subNorm ? { name: `${name}norm`, eps: normEps, residual: false } : null;
  const fed = feed(tower, { name: `${name}proj`, tokens: queries }, mixed, sub);
  const [kernel, bias] = [take(`${name}proj.weight`), take(`${name}proj.bias`)];
  return toFloat(tower, products(tower, fed, { kernel, bias, columns: [{ from: 0, to: width }], writesResidual: true })[0] as Value);
}

/** Rows of q (times the attention scale), k and v; with rotary, q and k by halves. */
function qkvKernel(tower: Tower, name: string): Weight {
  const { take, image } = tower;
  const size = image.width * image.width;
  const of = (i: number, letter: string) =>
    image.subNorm ? take(`${name}${letter}_proj.weight`) : part(take(`${name}qkv.weight`), i * size, (i + 1) * size);
  return joined([scaled(ordered(tower, of(0, "q")), image.headDim ** -0.5), ordered(tower, of(1, "k")), of(2, "v")]);
}

/** [q, 0, v]: k has no bias, because softmax would not see it. */
function qkvBias(tower: Tower, name: string): Weight {
  const { take, image } = tower;
  const of = (letter: string) => take(image.subNorm ? `${name}${letter}_proj.bias` : `${name}${letter}_bias`);
  return joined([scaled(ordered(tower, of("q")), image.headDim ** -0.5), zeros(image.width), of("v")]);
}

function ordered({ image }: Tower, weight: Weight): Weight {
  return image.rotary ? halvesTogether(weight, image.width, image.headDim) : weight;
}

/** (a, b) → (a·cos − b·sin, b·cos + a·sin); without the runtime's own node the sign stands in the constant. */
function rotate({ graph, flavour, image }: Tower, value: Value, { cos, sin }: Rotary, shape: "rows" | "heads"): Value {
  const { headDim } = image;
  if (flavour === "ort" && shape === "rows") {
    const inputs = [value, graph.integers([0]), cos, sin];
    return graph.op("com.microsoft.RotaryEmbedding", inputs, { num_heads: image.width / headDim, rotary_embedding_dim: 0 });
  }
  const [a, b] = graph.split(value, 3, [headDim / 2, headDim / 2]) as [Value, Value];
  const swapped = graph.op("Concat", [b, a], { axis: 3 });
  return graph.op("Add", [graph.op("Mul", [value, cos]), graph.op("Mul", [swapped, sin])]);
}

function rotaryConstants(tower: Tower): Rotary {
  const { flavour, image, tokens } = tower;
  const half = image.headDim / 2;
  const { cos, sin } = rotaryTable(image);
  if (flavour === "ort") return { cos: angles(tower, cos, [tokens, half]), sin: angles(tower, sin, [tokens, half]) };
  const shape = [1, 1, tokens, 2 * half];
  return { cos: angles(tower, bySide(cos, cos, half), shape), sin: angles(tower, bySide(negated(sin), sin, half), shape) };
}

/** Angles y/H·16·f over the first half of the pairs and x/W·16·f over the second, f_j = 10000^(−j / bands): [tokens, headDim / 2]. */
export function rotaryTable({ size, patch, headDim }: ModelConfig["image"]): { cos: Float32Array; sin: Float32Array } {
  const grid = size / patch;
  const half = headDim / 2;
  const bands = half / 2;
  const tokens = grid * grid + 1;
  const cos = new Float32Array(tokens * half).fill(1); // the class token keeps its place: cos 1, sin 0
  const sin = new Float32Array(tokens * half);
  for (let p = 0; p < grid * grid; p++) {
    const [row, column] = [Math.floor(p / grid), p % grid];
    for (let pair = 0; pair < half; pair++) {
      const position = ((pair < bands ? row : column) / grid) * 16;
      const angle = position * 10_000 ** (-(pair % bands) / bands);
      cos[(p + 1) * half + pair] = Math.cos(angle);
      sin[(p + 1) * half + pair] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** Rows of both, one beside the other: [tokens, half] twice → [tokens, 2·half]. */
export function bySide(left: Float32Array, right: Float32Array, half: number): Float32Array {
  const out = new Float32Array(left.length + right.length);
  for (let from = 0; from < left.length; from += half) {
    out.set(left.subarray(from, from + half), 2 * from);
    out.set(right.subarray(from, from + half), 2 * from + half);
  }
  return out;
}

export function negated(values: Float32Array): Float32Array {
  return values.map((value) => -value);
}

/** In a file of 8-bit weights the angles of a small model are a tenth: they are kept as halves there. */
function angles(tower: Tower, values: Float32Array | number[], shape: number[]): Value {
  const { graph, plan } = tower;
  return isEightBit(plan) ? graph.cast(graph.made("half", shape, halfNumbers(values)), "float") : constants(tower, values, shape);
}

function mlp(tower: Tower, { name, x, norm: before, tokens }: Reading & { tokens: number }): Value {
  const { graph, take, image } = tower;
  const { mlpHidden: hidden, width } = image;
  const fed = feed(tower, { name: `${name}fc1`, tokens }, x, before);
  const [kernel, bias] = [take(`${name}fc2.weight`), take(`${name}fc2.bias`)];
  const second = { kernel, bias, columns: [{ from: 0, to: width }], writesResidual: true };
  const place = { name: `${name}fc2`, tokens };
  if (image.mlp === "gelu") {
    const first = { kernel: take(`${name}fc1.weight`), bias: take(`${name}fc1.bias`), columns: [{ from: 0, to: hidden }] };
    const active = toFloat(tower, exactGelu(tower, products(tower, fed, first)[0] as Value));
    return toFloat(tower, products(tower, feed(tower, place, active), second)[0] as Value);
  }
  const both = {
    kernel: joined([take(`${name}fc1_g.weight`), take(`${name}fc1_x.weight`)]),
    bias: joined([take(`${name}fc1_g.bias`), take(`${name}fc1_x.bias`)]),
    columns: [0, hidden].map((from) => ({ from, to: from + hidden })),
  };
  const [gate, value] = products(tower, fed, both) as [Value, Value];
  const gated = toFloat(tower, graph.op("Mul", [silu(tower, gate), value]));
  const inner = feed(tower, place, gated, { name: `${name}norm`, eps: image.normEps, residual: false });
  return toFloat(tower, products(tower, inner, second)[0] as Value);
}
