/**
 * Finds the weights inside a model file that this package wrote, so that another graph of the same model (other flavour,
 * other outputs) is written from them without the checkpoint: the flavours differ in nodes, never in weights.
 * In: the file and, for a model over 2 GB, the file beside it, in ranges. Field numbers: onnx.proto3.
 */
import { type ByteSource, shown } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import type { ReadPrepared } from "./model.ts";

const GRAPH = 7;
const INITIALIZER = 5;
const TENSOR = { name: 8, raw: 9, external: 13 } as const;
const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
/** Names, shapes and places of a tensor, without its numbers. */
const SMALL_BYTES = 64 * 1024;
const WINDOW_BYTES = 16 * 1024;

type Place = { file: "model" | string; offset: number; length: number };
type Field = { number: number; wire: number; at: number; length: number };

/** `open` gives the data file of that name beside the model. */
export async function openPrepared(source: ByteSource, open: (file: string) => Promise<ByteSource>): Promise<ReadPrepared> {
  const places = await findWeights(source);
  const beside = new Map<string, Promise<ByteSource>>();
  return async (label, numbers) => {
    const place = places.get(label);
    if (!place)
      throw new KenpinError("weight-missing", `the model file holds no weight ${shown(label)}; it was not written by this program`);
    if (place.length !== numbers * 4)
      throw new KenpinError(
        "weight-shape",
        `weight ${shown(label)} has ${place.length} bytes where the configuration needs ${numbers * 4}`,
      );
    if (place.file === "model") return source.read(place.offset, place.length);
    const file = beside.get(place.file) ?? open(place.file);
    beside.set(place.file, file);
    const { size, read } = await file;
    if (place.offset + place.length > size) throw unreadable(`${shown(place.file)} ends inside weight ${shown(label)}`);
    return read(place.offset, place.length);
  };
}

async function findWeights(source: ByteSource): Promise<Map<string, Place>> {
  const places = new Map<string, Place>();
  const reader = new FieldReader(source);
  for await (const graph of reader.fields(0, source.size)) {
    if (graph.number !== GRAPH || graph.wire !== WIRE.bytes) continue;
    for await (const field of reader.fields(graph.at, graph.length)) {
      if (field.number !== INITIALIZER || field.wire !== WIRE.bytes) continue;
      const { name, place } = await readTensor(reader, field);
      if (place) places.set(name, place);
    }
  }
  if (places.size === 0) throw unreadable("it holds no weights");
  return places;
}

async function readTensor(reader: FieldReader, tensor: Field): Promise<{ name: string; place: Place | null }> {
  let name = "";
  let place: Place | null = null;
  const external = new Map<string, string>();
  for await (const field of reader.fields(tensor.at, tensor.length)) {
    if (field.number === TENSOR.name) name = await reader.text(field);
    else if (field.number === TENSOR.raw) place = { file: "model", offset: field.at, length: field.length };
    else if (field.number === TENSOR.external) {
      const pair: string[] = [];
      for await (const part of reader.fields(field.at, field.length)) pair.push(await reader.text(part));
      external.set(pair[0] ?? "", pair[1] ?? "");
    }
  }
  const file = external.get("location");
  if (file === undefined) return { name, place };
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(file)) throw unreadable(`its weights lie in ${shown(file)}, which is no plain file name`);
  const [offset, length] = [Number(external.get("offset") ?? 0), Number(external.get("length"))];
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0)
    throw unreadable(`weight ${shown(name)} has no place in ${file}`);
  return { name, place: { file, offset, length } };
}

/** Walks protobuf fields through a window, so that numbers are skipped, not read. */
class FieldReader {
  #source: ByteSource;
  #window: Uint8Array = new Uint8Array();
  #from = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  async *fields(from: number, length: number): AsyncGenerator<Field> {
    const end = from + length;
    let at = from;
    while (at < end) {
      const key = await this.#varint(at, end);
      at = key.next;
      const [number, wire] = [Math.floor(key.value / 8), key.value % 8];
      let size = { [WIRE.fixed64]: 8, [WIRE.fixed32]: 4 }[wire];
      if (wire === WIRE.varint) size = (await this.#varint(at, end)).next - at;
      else if (wire === WIRE.bytes) {
        const prefix = await this.#varint(at, end);
        [at, size] = [prefix.next, prefix.value];
      }
      if (size === undefined || at + size > end) throw unreadable("it is cut short or no ONNX model");
      yield { number, wire, at, length: size };
      at += size;
    }
  }

  async text({ at, length }: Field): Promise<string> {
    if (length > SMALL_BYTES) throw unreadable(`it holds a name of ${length} bytes`);
    return new TextDecoder().decode(await this.#bytes(at, length));
  }

  async #varint(at: number, end: number): Promise<{ value: number; next: number }> {
    const bytes = await this.#bytes(at, Math.min(10, end - at));
    let value = 0;
    for (const [i, byte] of bytes.entries()) {
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128 && value <= Number.MAX_SAFE_INTEGER) return { value, next: at + i + 1 };
    }
    // Negative numbers take ten bytes; none of the fields read here has one, and their length alone is used.
    if (bytes.length === 10) return { value: 0, next: at + 10 };
    throw unreadable("it is cut short or no ONNX model");
  }

  async #bytes(at: number, length: number): Promise<Uint8Array> {
    if (at < this.#from || at + length > this.#from + this.#window.length) {
      this.#window = await this.#source.read(at, Math.min(Math.max(length, WINDOW_BYTES), this.#source.size - at));
      this.#from = at;
    }
    return this.#window.subarray(at - this.#from, at - this.#from + length);
  }
}

function unreadable(why: string): KenpinError {
  return new KenpinError("model-unreadable", `the model file cannot be read: ${why}; import the checkpoint again`);
}
