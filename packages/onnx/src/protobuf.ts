/**
 * The few protobuf wire rules an ONNX file needs (protobuf.dev, "Encoding"): varints, length-delimited fields, floats.
 * Field numbers stand in graph.ts, from onnx.proto3 (ONNX 1.12, IR version 8). A message is a list of chunks; a weight's
 * chunk is only promised, with its length, so that a file larger than memory is written tensor by tensor.
 */
import type { Made, Weight } from "./weights.ts";

export type Chunk = Uint8Array | Weight | Made;

export class Writer {
  readonly chunks: Chunk[] = [];
  bytesTotal = 0;

  varint(field: number, value: number): this {
    return this.#put(encodeVarint(field << 3)).#put(encodeVarint(value));
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  bytes(field: number, value: Chunk): this {
    return this.#put(encodeVarint((field << 3) | 2))
      .#put(encodeVarint(chunkBytes(value)))
      .#put(value);
  }

  message(field: number, build: (inner: Writer) => void): this {
    const inner = new Writer();
    build(inner);
    return this.nested(field, inner);
  }

  nested(field: number, inner: Writer): this {
    this.#put(encodeVarint((field << 3) | 2)).#put(encodeVarint(inner.bytesTotal));
    for (const chunk of inner.chunks) this.#put(chunk);
    return this;
  }

  float(field: number, value: number): this {
    return this.#put(encodeVarint((field << 3) | 5)).#put(new Uint8Array(new Float32Array([value]).buffer));
  }

  #put(chunk: Chunk): this {
    this.chunks.push(chunk);
    this.bytesTotal += chunkBytes(chunk);
    return this;
  }
}

export function chunkBytes(chunk: Chunk): number {
  if (chunk instanceof Uint8Array) return chunk.length;
  return "from" in chunk ? chunk.bytes : chunk.length * 4;
}

/** Negative numbers take ten bytes, as two's complement of 64 bits. */
function encodeVarint(value: number): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    out.push(rest > 0n ? low | 128 : low);
  } while (rest > 0n);
  return Uint8Array.from(out);
}
