/**
 * The few protobuf wire rules an ONNX file needs (protobuf.dev, "Encoding"): varints, length-delimited fields, floats.
 * Field numbers stand in graph.ts, from onnx.proto3 (ONNX 1.12, IR version 8).
 */
export class Writer {
  #parts: Uint8Array[] = [];

  varint(field: number, value: number): this {
    this.#parts.push(encodeVarint(field << 3), encodeVarint(value));
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  bytes(field: number, value: Uint8Array): this {
    this.#parts.push(encodeVarint((field << 3) | 2), encodeVarint(value.length), value);
    return this;
  }

  message(field: number, build: (inner: Writer) => void): this {
    const inner = new Writer();
    build(inner);
    return this.bytes(field, inner.finish());
  }

  float(field: number, value: number): this {
    this.#parts.push(encodeVarint((field << 3) | 5), new Uint8Array(new Float32Array([value]).buffer));
    return this;
  }

  finish(): Uint8Array {
    const out = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
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
