/**
 * A drawn graph, ready to become bytes: at once from weights in memory, or tensor by tensor from a checkpoint.
 * protobuf ends at 2 GB (onnx.proto3: a message is at most 2^31 − 1 bytes), so a larger model keeps its weights in a
 * second file beside it ("external data", ONNX's ExternalData.md), each at a page's start so that it can be mapped.
 */
import { KenpinError } from "@kenpin/schema";
import { type Chunk, chunkBytes, Writer } from "./protobuf.ts";
import { bytesOf, type Lookup, labelOf, lookupIn, type Weight, type Weights } from "./weights.ts";

export type Initializer = { name: string; type: number; shape: number[]; data: Chunk };
/** A tensor of the checkpoint by its name, read when it is needed. */
export type ReadTensor = (name: string) => Promise<Float32Array>;
/** An initializer of another graph of the same model by its label, as read-weights.ts finds them. */
export type ReadPrepared = (label: string, numbers: number) => Promise<Uint8Array>;
/** Bytes for the model's file, or for the data file beside it. */
export type ModelBytes = { file: "model" | "data"; bytes: Uint8Array };

/** Room for nodes and names below protobuf's 2^31 − 1. */
const PROTOBUF_LIMIT_BYTES = 2_000_000_000;
const PAGE_BYTES = 4096;
const EXTERNAL = 1;
/** Constants smaller than this stay in the model's own file. */
const INLINE_BYTES = 1024;
/** A kernel, its bias and the norm before it. */
const REMEMBERED = 4;

export class Model {
  #initializers: Initializer[];
  #draw: (initializers: Writer[]) => Writer;

  constructor(initializers: Initializer[], draw: (initializers: Writer[]) => Writer) {
    this.#initializers = initializers;
    this.#draw = draw;
  }

  get weightBytes(): number {
    return this.#initializers.reduce((sum, { data }) => sum + chunkBytes(data), 0);
  }

  /** The whole model in memory. */
  encode(weights: Weights): Uint8Array {
    const { chunks, bytesTotal } = this.#draw(this.#initializers.map(inside));
    if (bytesTotal > PROTOBUF_LIMIT_BYTES) throw new KenpinError("model-too-large", "this model is over 2 GB; write it with external data");
    const out = new Uint8Array(bytesTotal);
    const get = lookupIn(weights);
    const prepared = remember((weight) => weight.make(get));
    let at = 0;
    for (const chunk of chunks) {
      out.set(inMemory(chunk, get, prepared), at);
      at += chunkBytes(chunk);
    }
    return out;
  }

  /** The model piece by piece; `dataFile` is the name the data file will have, used when the model is too large for one. */
  stream(read: ReadTensor, dataFile: string, limitBytes = PROTOBUF_LIMIT_BYTES): AsyncGenerator<ModelBytes> {
    return this.#stream(async (weight) => bytesOf(await fromTensors(weight, read)), dataFile, limitBytes);
  }

  /** The same with weights that another graph of this model already holds, ready as they are. */
  streamPrepared(read: ReadPrepared, dataFile: string, limitBytes = PROTOBUF_LIMIT_BYTES): AsyncGenerator<ModelBytes> {
    return this.#stream((weight) => read(labelOf(weight), weight.length), dataFile, limitBytes);
  }

  async *#stream(read: (weight: Weight) => Promise<Uint8Array>, dataFile: string, limitBytes: number): AsyncGenerator<ModelBytes> {
    // A weight of no tensors (zeros where a model has no bias) is made, not read.
    const make = async (weight: Weight) => (weight.names.length === 0 ? bytesOf(weight.make(() => new Float32Array())) : read(weight));
    const prepared = remember(async (weight) => floatsOf(await make(weight)));
    const resolve = async (chunk: Chunk) => {
      if (chunk instanceof Uint8Array) return chunk;
      return "from" in chunk ? chunk.make(await eachInTurn(chunk.from, prepared)) : make(chunk);
    };
    if (this.weightBytes <= limitBytes) {
      for (const chunk of this.#draw(this.#initializers.map(inside)).chunks) yield { file: "model", bytes: await resolve(chunk) };
      return;
    }
    let offset = 0;
    const outside: Chunk[] = [];
    const encoded = this.#initializers.map((initializer) => {
      const bytes = chunkBytes(initializer.data);
      if (bytes < INLINE_BYTES) return inside(initializer);
      const padding = (PAGE_BYTES - (offset % PAGE_BYTES)) % PAGE_BYTES;
      outside.push(new Uint8Array(padding), initializer.data);
      const place = { location: dataFile, offset: String(offset + padding), length: String(bytes) };
      offset += padding + bytes;
      return beside(initializer, place);
    });
    for (const chunk of this.#draw(encoded).chunks) yield { file: "model", bytes: await resolve(chunk) };
    for (const chunk of outside) yield { file: "data", bytes: await resolve(chunk) };
  }
}

function inMemory(chunk: Chunk, get: Lookup, prepared: (weight: Weight) => Float32Array): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  return "from" in chunk ? chunk.make(chunk.from.map(prepared)) : bytesOf(chunk.make(get));
}

/** Codes, scales and biases of one kernel stand one behind the other: the last few answers are kept, not made again. */
function remember<T>(make: (weight: Weight) => T): (weight: Weight) => T {
  const known = new Map<string, T>();
  return (weight) => {
    const label = labelOf(weight);
    const found = known.get(label) ?? make(weight);
    if (label !== "") known.set(label, found);
    for (const oldest of known.keys()) if (known.size > REMEMBERED) known.delete(oldest);
    return found;
  };
}

async function fromTensors(weight: Weight, read: ReadTensor): Promise<Float32Array> {
  const tensors = new Map<string, Float32Array>();
  for (const name of weight.names) if (!tensors.has(name)) tensors.set(name, await read(name));
  return weight.make((name) => tensors.get(name) as Float32Array);
}

/** One after the other: memory holds what one initializer is made of, no more. */
async function eachInTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const out: R[] = [];
  for (const item of items) out.push(await work(item));
  return out;
}

/** A copy when the bytes start at an odd place. */
function floatsOf(bytes: Uint8Array): Float32Array {
  const even = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Float32Array(even.buffer, even.byteOffset, even.byteLength / 4);
}

function inside({ name, type, shape, data }: Initializer): Writer {
  return head(shape, type, name).bytes(9, data);
}

function beside({ name, type, shape }: Initializer, place: Record<string, string>): Writer {
  const out = head(shape, type, name);
  for (const [key, value] of Object.entries(place)) out.message(13, (entry) => entry.text(1, key).text(2, value));
  return out.varint(14, EXTERNAL);
}

function head(shape: number[], type: number, name: string): Writer {
  const out = new Writer();
  for (const size of shape) out.varint(1, size);
  return out.varint(2, type).text(8, name);
}
