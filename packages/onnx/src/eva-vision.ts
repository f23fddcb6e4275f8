/**
 * The image tower of EVA-02's B and L kind (arXiv 2303.11331) as an ONNX graph.
 *
 * In: `pixel_values` [n, 3, S, S]. Out: `image_embeds` [n, D], `patch_embeds` [n, P, D] (every patch token through the
 * final norm and head) and `patch_tokens` [n, P, L·W] (the tokens after the given blocks, for a memory bank); all of
 * length 1. Positions, rotary angles and the attention scale are constants; the class token enters with its position.
 */
import type { ModelConfig } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { Graph, type Value } from "./graph.ts";
import { halvesTogether, joined, scaled, take, transposed, type Weights } from "./weights.ts";

export type VisionGraphOptions = { config: ModelConfig; weights: Weights; layers: number[] };

const TRUNK = "visual.trunk.";

export function visionGraph({ config, weights, layers }: VisionGraphOptions): Uint8Array {
  const { image, embedDim } = config;
  if (image.mlp !== "swiglu" || !image.subNorm || image.norm !== "pre") {
    throw new KenpinError("unsupported-block", `${config.name}: this writer knows EVA-02's B and L kind of block only`);
  }
  const graph = new Graph();
  const tokens = (image.size / image.patch) ** 2 + 1;
  let x = patchTokens(graph, config, weights);
  const rotary = image.rotary ? rotaryConstants(graph, image) : null;
  const kept: Value[] = [];
  for (let i = 0; i < image.depth; i++) {
    const block = `${TRUNK}blocks.${i}.`;
    x = graph.op("Add", [
      x,
      attention(graph, config, weights, `${block}attn.`, norm(graph, weights, `${block}norm1`, x, image.normEps), rotary),
    ]);
    x = graph.op("Add", [x, mlp(graph, config, weights, `${block}mlp.`, norm(graph, weights, `${block}norm2`, x, image.normEps))]);
    if (layers.includes(i)) kept.push(graph.normalise(graph.slice(x, 1, 1, tokens)));
  }
  const out = graph.normalise(linear(graph, weights, `${TRUNK}head`, norm(graph, weights, `${TRUNK}norm`, x, image.normEps)));
  const input: (number | string)[] = ["n"];
  graph.output("image_embeds", graph.reshape(graph.slice(out, 1, 0, 1), [0, embedDim]), [...input, embedDim]);
  graph.output("patch_embeds", graph.slice(out, 1, 1, tokens), [...input, tokens - 1, embedDim]);
  if (kept.length > 0) {
    const all = kept.length === 1 ? (kept[0] as Value) : graph.normalise(graph.op("Concat", kept, { axis: 2 }));
    graph.output("patch_tokens", all, [...input, tokens - 1, kept.length * image.width]);
  }
  return graph.encode(config.name);
}

function patchTokens(graph: Graph, { image }: ModelConfig, weights: Weights): Value {
  const { size, patch, width } = image;
  const grid = size / patch;
  const pixels = graph.input("pixel_values", "float", ["n", 3, size, size]);
  const split = graph.transpose(graph.reshape(pixels, [0, 3, grid, patch, grid, patch]), [0, 2, 4, 1, 3, 5]);
  const rows = graph.reshape(split, [0, grid * grid, 3 * patch * patch]);
  const embedded = linear(graph, weights, `${TRUNK}patch_embed.proj`, rows);
  // A zero row in front; the first position carries the class token, so no shape has to be expanded to the batch.
  const padded = graph.op("Pad", [embedded, graph.integers([0, 1, 0, 0, 0, 0])]);
  const positions = Float32Array.from(take(weights, `${TRUNK}pos_embed`));
  const cls = take(weights, `${TRUNK}cls_token`);
  for (let i = 0; i < width; i++) positions[i] = (positions[i] as number) + (cls[i] as number);
  return graph.op("Add", [padded, graph.weights(positions, [1, grid * grid + 1, width])]);
}

type Rotary = { cos: Value; sin: Value };

function attention(graph: Graph, { image }: ModelConfig, weights: Weights, name: string, x: Value, rotary: Rotary | null): Value {
  const { width, headDim } = image;
  const heads = width / headDim;
  const tokens = (image.size / image.patch) ** 2 + 1;
  const order = (data: Float32Array) => (rotary ? halvesTogether(data, width, headDim) : data);
  const scale = headDim ** -0.5;
  const kernel = joined([
    scaled(order(take(weights, `${name}q_proj.weight`)), scale),
    order(take(weights, `${name}k_proj.weight`)),
    take(weights, `${name}v_proj.weight`),
  ]);
  const bias = joined([
    scaled(order(take(weights, `${name}q_proj.bias`)), scale),
    new Float32Array(width),
    take(weights, `${name}v_proj.bias`),
  ]);
  const product = graph.op("MatMul", [x, graph.weights(transposed(kernel, 3 * width), [width, 3 * width])]);
  const qkv = graph.reshape(graph.op("Add", [product, graph.weights(bias, [3 * width])]), [0, tokens, 3 * heads, headDim]);
  const [q, k, v] = graph.split(graph.transpose(qkv, [0, 2, 1, 3]), 1, [heads, heads, heads]) as [Value, Value, Value];
  const turn = (value: Value) => (rotary ? rotate(graph, value, headDim, rotary) : value);
  const scores = graph.op("Softmax", [graph.op("MatMul", [turn(q), graph.transpose(turn(k), [0, 1, 3, 2])])], { axis: -1 });
  const mixed = graph.reshape(graph.transpose(graph.op("MatMul", [scores, v]), [0, 2, 1, 3]), [0, tokens, width]);
  return linear(graph, weights, `${name}proj`, norm(graph, weights, `${name}norm`, mixed, image.normEps));
}

/** (a, b) → (a·cos − b·sin, b·cos + a·sin), the sign kept in the constant. */
function rotate(graph: Graph, value: Value, headDim: number, { cos, sin }: Rotary): Value {
  const [a, b] = graph.split(value, 3, [headDim / 2, headDim / 2]) as [Value, Value];
  const swapped = graph.op("Concat", [b, a], { axis: 3 });
  return graph.op("Add", [graph.op("Mul", [value, cos]), graph.op("Mul", [swapped, sin])]);
}

/** Angles y/H·16·f over the first half of the pairs and x/W·16·f over the second, f_j = 10000^(−j / bands). */
function rotaryConstants(graph: Graph, { size, patch, headDim }: ModelConfig["image"]): Rotary {
  const grid = size / patch;
  const half = headDim / 2;
  const bands = half / 2;
  const cos = new Float32Array((grid * grid + 1) * headDim).fill(1);
  const sin = new Float32Array(cos.length);
  for (let p = 0; p < grid * grid; p++) {
    const [row, column] = [Math.floor(p / grid), p % grid];
    for (let pair = 0; pair < half; pair++) {
      const position = ((pair < bands ? row : column) / grid) * 16;
      const angle = position * 10_000 ** (-(pair % bands) / bands);
      const at = (p + 1) * headDim + pair;
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at] = -Math.sin(angle);
      sin[at + half] = Math.sin(angle);
    }
  }
  const shape = [1, 1, grid * grid + 1, headDim];
  return { cos: graph.weights(cos, shape), sin: graph.weights(sin, shape) };
}

function mlp(graph: Graph, { image }: ModelConfig, weights: Weights, name: string, x: Value): Value {
  const hidden = image.mlpHidden;
  const kernel = joined([take(weights, `${name}fc1_g.weight`), take(weights, `${name}fc1_x.weight`)]);
  const bias = joined([take(weights, `${name}fc1_g.bias`), take(weights, `${name}fc1_x.bias`)]);
  const product = graph.op("MatMul", [x, graph.weights(transposed(kernel, 2 * hidden), [image.width, 2 * hidden])]);
  const [gate, value] = graph.split(graph.op("Add", [product, graph.weights(bias, [2 * hidden])]), 2, [hidden, hidden]) as [Value, Value];
  const silu = graph.op("Mul", [gate, graph.op("Sigmoid", [gate])]);
  return linear(graph, weights, `${name}fc2`, norm(graph, weights, `${name}norm`, graph.op("Mul", [silu, value]), image.normEps));
}

export function linear(graph: Graph, weights: Weights, name: string, x: Value): Value {
  const bias = take(weights, `${name}.bias`);
  const kernel = take(weights, `${name}.weight`);
  const product = graph.op("MatMul", [x, graph.weights(transposed(kernel, bias.length), [kernel.length / bias.length, bias.length])]);
  return graph.op("Add", [product, graph.weights(bias, [bias.length])]);
}

export function norm(graph: Graph, weights: Weights, name: string, x: Value, eps: number): Value {
  const [scale, bias] = [take(weights, `${name}.weight`), take(weights, `${name}.bias`)];
  const inputs = [x, graph.weights(scale, [scale.length]), graph.weights(bias, [bias.length])];
  return graph.op("LayerNormalization", inputs, { axis: -1, epsilon: { float: eps } });
}
