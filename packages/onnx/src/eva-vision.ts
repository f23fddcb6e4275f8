/**
 * The image towers of the EVA-CLIP family (arXiv 2303.15389, 2303.11331) as an ONNX graph.
 *
 * In: `pixel_values` [n, 3, S, S]. Out: `image_embeds` [n, D], `patch_embeds` [n, P, D] (every patch token through the
 * final norm and head) and `patch_tokens` [n, P, L·W] (the tokens after the given blocks, for a memory bank); all of
 * length 1. Positions, rotary angles and the attention scale are constants; the class token enters with its position.
 */
import type { ModelConfig } from "@kenpin/clip";
import { attend, exactGelu, type Flavour, linear, norm, product, silu } from "./blocks.ts";
import { Graph, type Value } from "./graph.ts";
import type { Model } from "./model.ts";
import { addedInFront, halvesTogether, joined, part, scaled, type Take, tensorsOf, type Weight, type Weights, zeros } from "./weights.ts";

export type VisionModelOptions = {
  config: ModelConfig;
  /** Blocks, from 0, whose tokens become `patch_tokens`. */
  layers?: number[];
  patchEmbeds?: boolean;
  flavour?: Flavour;
};
export type VisionGraphOptions = VisionModelOptions & { weights: Weights };

type Tower = { graph: Graph; take: Take; flavour: Flavour; image: ModelConfig["image"]; tokens: number };
type Rotary = { cos: Value; sin: Value };

const TRUNK = "visual.trunk.";

export function visionGraph({ weights, ...options }: VisionGraphOptions): Uint8Array {
  return visionModel(options).encode(weights);
}

export function visionModel({ config, layers = [], patchEmbeds = true, flavour = "portable" }: VisionModelOptions): Model {
  const { image, embedDim } = config;
  const tokens = (image.size / image.patch) ** 2 + 1;
  const tower: Tower = { graph: new Graph(), take: tensorsOf(config), flavour, image, tokens };
  const { graph, take } = tower;
  const normed = (name: string, x: Value) => norm(graph, take, name, x, image.normEps);
  let x = patchTokens(tower);
  const rotary = image.rotary ? rotaryConstants(tower) : null;
  const kept: Value[] = [];
  for (let i = 0; i < image.depth; i++) {
    const block = `${TRUNK}blocks.${i}.`;
    const pre = image.norm === "pre";
    const mixed = attention(tower, `${block}attn.`, pre ? normed(`${block}norm1`, x) : x, rotary);
    x = graph.op("Add", [x, pre ? mixed : normed(`${block}norm1`, mixed)]);
    const thought = mlp(tower, `${block}mlp.`, pre ? normed(`${block}norm2`, x) : x);
    x = graph.op("Add", [x, pre ? thought : normed(`${block}norm2`, thought)]);
    if (layers.includes(i)) kept.push(graph.normalise(graph.slice(x, 1, 1, tokens)));
  }
  const last = patchEmbeds ? x : graph.slice(x, 1, 0, 1);
  const out = graph.normalise(linear(graph, take, `${TRUNK}head`, normed(`${TRUNK}norm`, last)));
  const first = patchEmbeds ? graph.slice(out, 1, 0, 1) : out;
  graph.output("image_embeds", graph.reshape(first, [0, embedDim]), ["n", embedDim]);
  if (patchEmbeds) graph.output("patch_embeds", graph.slice(out, 1, 1, tokens), ["n", tokens - 1, embedDim]);
  if (kept.length > 0) {
    const all = kept.length === 1 ? (kept[0] as Value) : graph.normalise(graph.op("Concat", kept, { axis: 2 }));
    graph.output("patch_tokens", all, ["n", tokens - 1, kept.length * image.width]);
  }
  return graph.finish(config.name);
}

function patchTokens({ graph, take, image, tokens }: Tower): Value {
  const { size, patch, width } = image;
  const grid = size / patch;
  const pixels = graph.input("pixel_values", "float", ["n", 3, size, size]);
  const split = graph.transpose(graph.reshape(pixels, [0, 3, grid, patch, grid, patch]), [0, 2, 4, 1, 3, 5]);
  const rows = graph.reshape(split, [0, grid * grid, 3 * patch * patch]);
  const embedded = linear(graph, take, `${TRUNK}patch_embed.proj`, rows);
  // A zero row in front; the first position carries the class token, so no shape has to be expanded to the batch.
  const padded = graph.op("Pad", [embedded, graph.integers([0, 1, 0, 0, 0, 0])]);
  const positions = addedInFront(take(`${TRUNK}pos_embed`), take(`${TRUNK}cls_token`));
  return graph.op("Add", [padded, graph.weight(positions, [1, tokens, width])]);
}

function attention(tower: Tower, name: string, x: Value, rotary: Rotary | null): Value {
  const { graph, take, flavour, image, tokens } = tower;
  const { width, headDim } = image;
  const heads = width / headDim;
  const qkv = graph.op("Add", [product(graph, qkvKernel(tower, name), x, 3 * width), graph.weight(qkvBias(tower, name), [3 * width])]);
  const turn = (value: Value, shape: "rows" | "heads") => (rotary ? rotate(tower, value, rotary, shape) : value);
  const mixed = attend({ graph, flavour, qkv, heads, headDim, tokens, turn, bias: null });
  return linear(graph, take, `${name}proj`, image.subNorm ? norm(graph, take, `${name}norm`, mixed, image.normEps) : mixed);
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

/** Angles y/H·16·f over the first half of the pairs and x/W·16·f over the second, f_j = 10000^(−j / bands). */
function rotaryConstants({ graph, flavour, image, tokens }: Tower): Rotary {
  const grid = image.size / image.patch;
  const half = image.headDim / 2;
  const bands = half / 2;
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
  if (flavour === "ort") return { cos: graph.floats(cos, [tokens, half]), sin: graph.floats(sin, [tokens, half]) };
  const both = (left: Float32Array, right: Float32Array) => {
    const rows = Array.from({ length: tokens }, (_, t) => [
      ...left.subarray(t * half, t * half + half),
      ...right.subarray(t * half, t * half + half),
    ]);
    return graph.floats(rows.flat(), [1, 1, tokens, 2 * half]);
  };
  return {
    cos: both(cos, cos),
    sin: both(
      sin.map((value) => -value),
      sin,
    ),
  };
}

function mlp({ graph, take, flavour, image }: Tower, name: string, x: Value): Value {
  const hidden = image.mlpHidden;
  if (image.mlp === "gelu") return linear(graph, take, `${name}fc2`, exactGelu(graph, flavour, linear(graph, take, `${name}fc1`, x)));
  const kernel = joined([take(`${name}fc1_g.weight`), take(`${name}fc1_x.weight`)]);
  const bias = graph.weight(joined([take(`${name}fc1_g.bias`), take(`${name}fc1_x.bias`)]), [2 * hidden]);
  const both = graph.op("Add", [product(graph, kernel, x, 2 * hidden), bias]);
  const [gate, value] = graph.split(both, 2, [hidden, hidden]) as [Value, Value];
  const gated = graph.op("Mul", [silu(graph, flavour, gate), value]);
  return linear(graph, take, `${name}fc2`, norm(graph, take, `${name}norm`, gated, image.normEps));
}
