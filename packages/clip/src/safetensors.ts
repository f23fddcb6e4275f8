/**
 * safetensors: an 8-byte little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, then the bytes
 * (github.com/huggingface/safetensors, format section). Read in ranges, so a file larger than memory opens at once.
 * F32, F16 and BF16 become float32.
 */
import { KenpinError } from "@kenpin/schema";
import { z } from "zod";

/** Bytes that can be read in ranges: a file, a download, a buffer. */
export type ByteSource = { size: number; read: (offset: number, length: number) => Promise<Uint8Array> };
export type Tensor = { shape: number[]; data: Float32Array };
export type Checkpoint = {
  metadata: Record<string, string>;
  names: string[];
  shape: (name: string) => number[];
  tensor: (name: string) => Promise<Float32Array>;
};

/** The reference reader's own bound: a header past 100 MB is an attack, not a model. */
const HEADER_LIMIT_BYTES = 100_000_000;
const BYTES = { F32: 4, F16: 2, BF16: 2 } as const;
const Header = z.record(
  z.string(),
  z.strictObject({
    dtype: z.enum(["F32", "F16", "BF16"]),
    shape: z.array(z.int().min(0)).max(8),
    data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
  }),
);

export async function openSafetensors(source: ByteSource): Promise<Checkpoint> {
  if (source.size < 8) throw broken(`the file has ${source.size} bytes, not even a header's length`);
  const first = await source.read(0, 8);
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true));
  if (length > Math.min(HEADER_LIMIT_BYTES, source.size - 8)) throw broken(`its header claims ${length} bytes`);
  const { metadata, tensors } = parseHeader(new TextDecoder().decode(await source.read(8, length)));
  const base = 8 + length;
  for (const [name, { dtype, shape, data_offsets: span }] of Object.entries(tensors)) {
    const bytes = shape.reduce((size, n) => size * n, 1) * BYTES[dtype];
    if (span[1] - span[0] !== bytes) throw broken(`tensor ${name} spans ${span[1] - span[0]} bytes where its shape needs ${bytes}`);
    if (base + span[1] > source.size) throw broken(`it ends inside tensor ${name}; it was cut short`);
  }
  const entry = (name: string) => {
    const found = Object.hasOwn(tensors, name) ? tensors[name] : undefined;
    if (!found) throw new KenpinError("tensor-missing", `the checkpoint has no tensor ${name}`);
    return found;
  };
  return {
    metadata,
    names: Object.keys(tensors),
    shape: (name) => entry(name).shape,
    tensor: async (name) => {
      const { dtype, data_offsets: span } = entry(name);
      return toFloat32(await source.read(base + span[0], span[1] - span[0]), dtype);
    },
  };
}

/** All tensors at once, for small models. */
export async function readAllTensors(source: ByteSource): Promise<Map<string, Tensor>> {
  const checkpoint = await openSafetensors(source);
  const tensors = new Map<string, Tensor>();
  for (const name of checkpoint.names) tensors.set(name, { shape: checkpoint.shape(name), data: await checkpoint.tensor(name) });
  return tensors;
}

/** Writes float32 tensors in name order, so the same weights give the same bytes. */
export function encodeSafetensors(tensors: ReadonlyMap<string, Tensor>, metadata: Record<string, string> = {}): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  const names = [...tensors.keys()].sort();
  for (const name of names) {
    const { shape, data } = tensors.get(name) as Tensor;
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + padded + offset);
  new DataView(out.buffer).setBigUint64(0, BigInt(padded), true);
  out.fill(0x20, 8, 8 + padded).set(json, 8);
  let at = 8 + padded;
  for (const name of names) {
    const { data } = tensors.get(name) as Tensor;
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return out;
}

export function bytesSource(bytes: Uint8Array): ByteSource {
  return { size: bytes.length, read: async (offset, length) => bytes.subarray(offset, offset + length) };
}

function parseHeader(text: string): { metadata: Record<string, string>; tensors: z.infer<typeof Header> } {
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw broken("its header is no JSON", error);
  }
  const { __metadata__: metadata, ...rest } = json;
  const header = Header.safeParse(rest);
  if (!header.success) throw broken(`its header is wrong at ${header.error.issues[0]?.path.join(".")}: ${header.error.issues[0]?.message}`);
  const strings = z.record(z.string(), z.string()).optional().safeParse(metadata);
  if (!strings.success) throw broken("its metadata holds something other than text");
  return { metadata: strings.data ?? {}, tensors: header.data };
}

function toFloat32(bytes: Uint8Array, dtype: keyof typeof BYTES): Float32Array {
  const copy = bytes.slice().buffer;
  if (dtype === "F32") return new Float32Array(copy);
  const halves = new Uint16Array(copy);
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = dtype === "BF16" ? (halves[i] as number) << 16 : halfBits(halves[i] as number);
  return new Float32Array(bits.buffer);
}

/** IEEE 754 binary16 to the bits of binary32. */
function halfBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return (sign | 0x7f800000 | (fraction << 13)) >>> 0;
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0;
  if (fraction === 0) return sign >>> 0;
  const shift = Math.clz32(fraction) - 21;
  return (sign | ((113 - shift) << 23) | (((fraction << shift) & 1023) << 13)) >>> 0;
}

function broken(why: string, cause?: unknown): KenpinError {
  return new KenpinError("checkpoint-broken", `this is no whole safetensors file: ${why}; fetch it again`, { cause });
}
