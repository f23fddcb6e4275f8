/**
 * Builds an ONNX graph of standard operators: values are names, weights are initializers, shapes are constants. Opset 17,
 * which every runtime reads, or 23, whose Attention is one node.
 * Only the batch dimension is free, so a runtime sees no shape arithmetic. Operators of ONNX Runtime's own domain carry
 * it in their name ("com.microsoft.QuickGelu").
 */
import { Model, type Initializer } from "./model.ts";
import { type Chunk, Writer } from "./protobuf.ts";
import { labelOf, type Made, type Weight } from "./weights.ts";

const TYPES = { float: 1, uint8: 2, int8: 3, int64: 7, half: 10 } as const;
/** IR versions by the ONNX release that brought the opset. */
const IR_VERSIONS = { 17: 8, 23: 10 } as const;
const ATTRIBUTE = { float: 1, int: 2, ints: 7 } as const;
const RUNTIME_DOMAIN = "com.microsoft";

export type Value = string;
/** Standard operators only, or ONNX Runtime's fused ones (com.microsoft) as well. */
export type Flavour = "portable" | "ort";
export type Opset = keyof typeof IR_VERSIONS;
export type NumberType = keyof typeof TYPES;
type Attributes = Record<string, number | number[] | { float: number }>;
type Port = { name: string; type: "float" | "int64"; shape: (number | string)[] };

export class Graph {
  #nodes: Writer[] = [];
  #initializers: Initializer[] = [];
  #inputs: Port[] = [];
  #outputs: Port[] = [];
  #count = 0;
  #constants = new Map<string, Value>();
  #weights = new Map<string, Value>();
  #runtimeOnly = false;
  readonly opset: Opset;

  constructor(opset: Opset = 17) {
    this.opset = opset;
  }

  input(name: string, type: Port["type"], shape: Port["shape"]): Value {
    this.#inputs.push({ name, type, shape });
    return name;
  }

  /** Gives a value its public name. */
  output(name: string, value: Value, shape: Port["shape"]): void {
    this.#node("Identity", [value], [name], {});
    this.#outputs.push({ name, type: "float", shape });
  }

  /** Named after the tensors it is made of, so that another graph of the same model finds it again. */
  weight(weight: Weight, shape: number[]): Value {
    const label = labelOf(weight);
    if (!this.#weights.has(label)) this.#weights.set(label, this.#initializer(TYPES.float, shape, weight, label));
    return label;
  }

  floats(values: Float32Array | number[], shape: number[]): Value {
    return this.#initializer(TYPES.float, shape, new Uint8Array(Float32Array.from(values).buffer));
  }

  /** Weights in another form than a float32 graph of the model has them. */
  made(type: NumberType, shape: number[], made: Made): Value {
    return this.#initializer(TYPES[type], shape, made);
  }

  zeroPoint(type: "uint8" | "int8", value: number): Value {
    return this.#initializer(TYPES[type], [], Uint8Array.of(value));
  }

  zeros(length: number): Value {
    const key = `${length} zeros`;
    const known = this.#constants.get(key) ?? this.floats(new Float32Array(length), [length]);
    this.#constants.set(key, known);
    return known;
  }

  /** A list of integers, shared between nodes that need the same one. */
  integers(values: number[], shape = [values.length]): Value {
    const key = JSON.stringify([values, shape]);
    const known =
      this.#constants.get(key) ?? this.#initializer(TYPES.int64, shape, new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer));
    this.#constants.set(key, known);
    return known;
  }

  op(type: string, inputs: Value[], attributes: Attributes = {}): Value {
    return this.ops(type, inputs, 1, attributes)[0] as Value;
  }

  ops(type: string, inputs: Value[], outputs: number, attributes: Attributes = {}): Value[] {
    const names = Array.from({ length: outputs }, () => `v${this.#count++}`);
    this.#node(type, inputs, names, attributes);
    return names;
  }

  reshape(value: Value, shape: number[]): Value {
    return this.op("Reshape", [value, this.integers(shape)]);
  }

  transpose(value: Value, perm: number[]): Value {
    return this.op("Transpose", [value], { perm });
  }

  split(value: Value, axis: number, sizes: number[]): Value[] {
    return this.ops("Split", [value, this.integers(sizes)], sizes.length, { axis });
  }

  slice(value: Value, axis: number, from: number, to: number): Value {
    return this.op("Slice", [value, this.integers([from]), this.integers([to]), this.integers([axis])]);
  }

  /** Rows of the last axis scaled to length 1. */
  normalise(value: Value): Value {
    const length = this.reduce("ReduceL2", value, -1, 1);
    return this.op("Div", [value, this.op("Max", [length, this.floats([1e-6], [])])]);
  }

  /** Opset 18 made the axes of a reduction an input. */
  reduce(type: "ReduceL2" | "ReduceMax" | "ReduceMin", value: Value, axis: number, keepdims: 0 | 1): Value {
    if (this.opset === 17) return this.op(type, [value], { axes: [axis], keepdims });
    return this.op(type, [value, this.integers([axis])], { keepdims });
  }

  cast(value: Value, to: "float" | "half"): Value {
    return this.op("Cast", [value], { to: TYPES[to] });
  }

  finish(name: string): Model {
    return new Model(this.#initializers, (encoded) => {
      const model = new Writer().varint(1, IR_VERSIONS[this.opset]).text(2, "kenpin");
      model.message(7, (graph) => {
        for (const node of this.#nodes) graph.nested(1, node);
        graph.text(2, name);
        for (const initializer of encoded) graph.nested(5, initializer);
        for (const port of this.#inputs) graph.message(11, (info) => writePort(info, port));
        for (const port of this.#outputs) graph.message(12, (info) => writePort(info, port));
      });
      model.message(8, (opset) => opset.text(1, "").varint(2, this.opset));
      if (this.#runtimeOnly) model.message(8, (opset) => opset.text(1, RUNTIME_DOMAIN).varint(2, 1));
      return model;
    });
  }

  #initializer(type: number, shape: number[], data: Chunk, name = `c${this.#count++}`): Value {
    this.#initializers.push({ name, type, shape, data });
    return name;
  }

  #node(type: string, inputs: Value[], outputs: Value[], attributes: Attributes): void {
    const node = new Writer();
    const runtimes = type.startsWith(`${RUNTIME_DOMAIN}.`);
    const operator = runtimes ? type.slice(RUNTIME_DOMAIN.length + 1) : type;
    for (const name of inputs) node.text(1, name);
    for (const name of outputs) node.text(2, name);
    node.text(3, `${operator}_${this.#nodes.length}`).text(4, operator);
    for (const [name, value] of Object.entries(attributes)) node.message(5, (attribute) => writeAttribute(attribute, name, value));
    if (runtimes) node.text(7, RUNTIME_DOMAIN);
    this.#runtimeOnly ||= runtimes;
    this.#nodes.push(node);
  }
}

function writeAttribute(out: Writer, name: string, value: Attributes[string]): void {
  out.text(1, name);
  if (typeof value === "number") out.varint(3, value).varint(20, ATTRIBUTE.int);
  else if (Array.isArray(value)) {
    for (const item of value) out.varint(8, item);
    out.varint(20, ATTRIBUTE.ints);
  } else out.float(2, value.float).varint(20, ATTRIBUTE.float);
}

function writePort(out: Writer, { name, type, shape }: Port): void {
  out.text(1, name).message(2, (kind) =>
    kind.message(1, (tensorType) => {
      tensorType.varint(1, TYPES[type]);
      tensorType.message(2, (dims) => {
        for (const size of shape) dims.message(1, (dim) => (typeof size === "number" ? dim.varint(1, size) : dim.text(2, size)));
      });
    }),
  );
}
