/**
 * A place: a tensor that one or more products read, in the form that they read it in. Here a graph's number format is
 * decided: floats, 8-bit codes with scales fixed or measured as it runs, QuantizeLinear pairs, or halves.
 *
 * A norm before the place takes its smoothing (γ/s), and in 8 bits its β moves behind the product (b + W·β), so that the
 * codes lie around 0. Where the residual stream has no mean (its writers are centred, which later norms cannot see), the
 * norm is a root mean square: x̂ = x / √(mean(x²) + ε) is LayerNorm's own value then.
 */
import type { Flavour, Graph, Value } from "./graph.ts";
import { halfNumbers, halfWeight } from "./half.ts";
import type { PlacePlan, QuantPlan, Taps } from "./quant-plan.ts";
import { type Columns, floatKernel, movedBias, roundedKernel, roundedRows, smoothedScale } from "./rounded.ts";
import { type Take, transposed, type Weight } from "./weights.ts";

export type Builder = {
  graph: Graph;
  take: Take;
  flavour: Flavour;
  plan: QuantPlan | null;
  taps: Taps | null;
  /** Whether what is added to the residual stream has its mean taken off. */
  centred: boolean;
};
export type Norm = { name: string; eps: number; residual: boolean };
export type Place = { name: string; tokens: number };
export type Fed = { place: string; tokens: number; value: Value; plan: PlacePlan | null; beta: Weight | null; codes: Codes | null };
type Codes = { value: Value; scale: Value; zero: Value };
/** `columns` are the parts of the product that are wanted, each a value of its own. */
export type Product = { kernel: Weight; bias: Weight; columns: Columns[]; writesResidual?: boolean };

export function feed(builder: Builder, place: Place, x: Value, norm: Norm | null = null): Fed {
  const { graph, plan, taps } = builder;
  const found = plan?.places.get(place.name) ?? null;
  const moved = norm !== null && found !== null && isEightBit(plan);
  const value = norm ? normed(builder, norm, x, moved ? found : null) : x;
  if (taps) tap(builder, place, norm ? normed(builder, norm, x, { smooth: null, scale: 0, zero: 0 }) : x, taps);
  const beta = moved ? builder.take(`${norm.name}.bias`) : null;
  if (!found || !plan) return { place: place.name, tokens: place.tokens, value, plan: null, beta: null, codes: null };
  if (plan.scheme === "fp16")
    return { place: place.name, tokens: place.tokens, value: graph.cast(value, "half"), plan: found, beta: null, codes: null };
  return {
    place: place.name,
    tokens: place.tokens,
    value,
    plan: found,
    beta,
    codes: codesOf(builder, value, found, isDynamic(plan, place, found)),
  };
}

/** Products of one place, columns that follow each other; in float one product and a split, so that nothing is read twice. */
export function products(builder: Builder, fed: Fed, product: Product): Value[] {
  const { graph, plan, taps } = builder;
  const { columns } = product;
  if (taps) tapWeights(builder, fed, product);
  if (fed.codes && plan && plan.scheme !== "qdq") return columns.map((part) => eightBit(builder, fed, product, part));
  const span = { from: (columns[0] as Columns).from, to: (columns.at(-1) as Columns).to };
  const one = floatOrPaired(builder, fed, product, span);
  if (columns.length === 1) return [one];
  return graph.split(
    one,
    2,
    columns.map(({ from, to }) => to - from),
  );
}

/** In float16 graphs norms and sums are float32: half precision ends at 65504, and residual streams have gone past it. */
export function toFloat({ graph, plan }: Builder, value: Value): Value {
  return plan?.scheme === "fp16" ? graph.cast(value, "float") : value;
}

/** Constants in the format that products answer in. */
export function constants({ graph, plan }: Builder, values: Float32Array | number[], shape: number[]): Value {
  return plan?.scheme === "fp16" ? graph.made("half", shape, halfNumbers(values)) : graph.floats(values, shape);
}

/**
 * A table of rows [1, n, width] that is added as it is (positions). In 8 bits its codes and scales become floats again once,
 * as the runtime opens the model.
 */
export function table({ graph, plan, centred }: Builder, weight: Weight, width: number): Value {
  const count = weight.length / width;
  if (!isEightBit(plan)) return graph.weight(weight, [1, count, width]);
  const { codes, scales } = roundedRows(weight, width, centred);
  const rows = graph.cast(graph.made("int8", [1, count, width], codes), "float");
  return graph.op("Mul", [rows, graph.made("float", [1, count, 1], scales)]);
}

export function isEightBit(plan: QuantPlan | null): boolean {
  return plan !== null && plan.scheme !== "fp16";
}

function normed({ graph, take, plan, centred }: Builder, { name, eps, residual }: Norm, x: Value, moved: PlacePlan | null): Value {
  const [gamma, beta] = [take(`${name}.weight`), take(`${name}.bias`)];
  const attributes = { axis: -1, epsilon: { float: eps } };
  if (!moved) {
    const inputs = [x, graph.weight(gamma, [gamma.length]), graph.weight(beta, [beta.length])];
    return graph.op("LayerNormalization", inputs, attributes);
  }
  const scale = graph.made("float", [gamma.length], smoothedScale(gamma, moved.smooth));
  if (centred && residual) return graph.op("RMSNormalization", [x, scale], attributes);
  // TensorRT wants all three inputs.
  const inputs = plan?.scheme === "qdq" ? [x, scale, graph.zeros(beta.length)] : [x, scale];
  return graph.op("LayerNormalization", inputs, attributes);
}

function tap({ graph }: Builder, { name, tokens }: Place, value: Value, { everyToken }: Taps): void {
  const picked = Array.from({ length: Math.ceil(tokens / everyToken) }, (_, i) => i * everyToken);
  graph.output(`max:${name}`, graph.reduce("ReduceMax", value, 1, 0), ["n", `channels of ${name}`]);
  graph.output(`min:${name}`, graph.reduce("ReduceMin", value, 1, 0), ["n", `channels of ${name}`]);
  graph.output(`some:${name}`, graph.op("Gather", [value, graph.integers(picked)], { axis: 1 }), [
    "n",
    picked.length,
    `channels of ${name}`,
  ]);
}

/** The largest weight of each row, `weight:` [C]: smoothing balances it against the channel's largest value. */
function tapWeights({ graph }: Builder, { place }: Fed, { kernel, bias }: Product): void {
  const weights = graph.weight(transposed(kernel, bias.length), [kernel.length / bias.length, bias.length]);
  graph.output(`weight:${place}`, graph.reduce("ReduceMax", graph.op("Abs", [weights]), 1, 0), [kernel.length / bias.length]);
}

/** One row alone has a far narrower range than all rows of all inputs, and measuring it takes no time. */
function isDynamic({ scheme }: QuantPlan, { tokens }: Place, { dynamic = false }: PlacePlan): boolean {
  return scheme === "int8-dynamic" || (scheme === "int8-static" && (tokens === 1 || dynamic));
}

function codesOf({ graph, plan }: Builder, value: Value, { scale, zero }: PlacePlan, dynamic: boolean): Codes {
  if (dynamic) {
    const [codes, measured, middle] = graph.ops("DynamicQuantizeLinear", [value], 3) as [Value, Value, Value];
    return { value: codes, scale: measured, zero: middle };
  }
  const step = graph.floats([scale], []);
  const middle = graph.zeroPoint(plan?.scheme === "qdq" ? "int8" : "uint8", zero);
  return { value: graph.op("QuantizeLinear", [value, step, middle]), scale: step, zero: middle };
}

/** One integer product, back in float with scales and bias applied as its results leave the registers. */
function eightBit(builder: Builder, fed: Fed, product: Product, columns: Columns): Value {
  const { graph, plan } = builder;
  const codes = fed.codes as Codes;
  const options = kernelOf(builder, fed, product, columns);
  const form = (plan as QuantPlan).weights;
  const { codes: weights, scales } = roundedKernel(options, form);
  const count = columns.to - columns.from;
  const shape = [product.kernel.length / product.bias.length, count];
  const inputs = [
    codes.value,
    graph.made(form.type, shape, weights),
    codes.scale,
    graph.made("float", [count], scales),
    codes.zero,
    form.type === "uint8" ? graph.zeroPoint("uint8", 128) : "",
    graph.made("float", [count], movedBias({ ...options, bias: product.bias, beta: fed.beta })),
  ];
  return graph.op("com.microsoft.MatMulIntegerToFloat", inputs);
}

function floatOrPaired(builder: Builder, fed: Fed, product: Product, columns: Columns): Value {
  const { graph, plan } = builder;
  const { kernel, bias } = product;
  const [rows, count] = [kernel.length / bias.length, columns.to - columns.from];
  const options = kernelOf(builder, fed, product, columns);
  // A weight keeps its name and form in every graph; a runtime cuts such a constant once, as it opens the model.
  const picked = (weights: Value, axis: number) => (count === bias.length ? weights : graph.slice(weights, axis, columns.from, columns.to));
  if (plan?.scheme === "fp16" && fed.plan) {
    const weights = picked(graph.made("half", [rows, bias.length], halfWeight(options.kernel)), 1);
    return graph.op("Add", [graph.op("MatMul", [fed.value, weights]), picked(graph.made("half", [bias.length], halfWeight(bias)), 0)]);
  }
  if (fed.codes && plan) {
    const { codes, scales } = roundedKernel(options, plan.weights);
    const step = graph.made("float", [count], scales);
    const weights = graph.op("DequantizeLinear", [graph.made("int8", [rows, count], codes), step], { axis: 1 });
    const x = graph.op("DequantizeLinear", [fed.codes.value, fed.codes.scale, fed.codes.zero]);
    return graph.op("Add", [graph.op("MatMul", [x, weights]), movedBiasOf(builder, fed, product, columns)]);
  }
  if (options.centred) {
    const weights = graph.made("float", [rows, count], floatKernel(options));
    return graph.op("Add", [graph.op("MatMul", [fed.value, weights]), movedBiasOf(builder, fed, product, columns)]);
  }
  const weights = picked(graph.weight(options.kernel, [rows, bias.length]), 1);
  if (bias.names.length === 0) return graph.op("MatMul", [fed.value, weights]);
  const added = picked(graph.weight(bias, [bias.length]), 0);
  if (builder.flavour === "portable") return graph.op("Add", [graph.op("MatMul", [fed.value, weights]), added]);
  // With its bias inside, a product saves a pass over its results; Gemm knows matrices only.
  const flat = graph.op("Gemm", [graph.reshape(fed.value, [-1, rows]), weights, added]);
  return graph.reshape(flat, [-1, fed.tokens, count]);
}

function movedBiasOf(builder: Builder, fed: Fed, product: Product, columns: Columns): Value {
  const options = kernelOf(builder, fed, product, columns);
  return builder.graph.made("float", [columns.to - columns.from], movedBias({ ...options, bias: product.bias, beta: fed.beta }));
}

function kernelOf({ centred }: Builder, fed: Fed, { kernel, bias, writesResidual = false }: Product, columns: Columns) {
  return {
    kernel: transposed(kernel, bias.length),
    width: bias.length,
    columns,
    centred: centred && writesResidual,
    smooth: fed.plan?.smooth ?? null,
  };
}
