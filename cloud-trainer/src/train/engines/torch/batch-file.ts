/**
 * One batch as a safetensors file that the Python side maps: numbers as they are, each rank reading its own rows.
 * In: tensors of float32, int32 or bytes by name. Out: a file that has its name only when all of it is there.
 */
import { rename, writeFile } from "node:fs/promises";

export type BatchTensor = { shape: number[]; data: Float32Array | Int32Array | Uint8Array };

export async function writeBatch(file: string, tensors: Readonly<Record<string, BatchTensor>>): Promise<void> {
  const partial = `${file}.partial`;
  await writeFile(partial, encode(tensors));
  await rename(partial, file);
}

function encode(tensors: Readonly<Record<string, BatchTensor>>): Uint8Array {
  const header: Record<string, unknown> = {};
  let offset = 0;
  // Wide numbers first: every tensor then begins at a multiple of its numbers' size.
  const ordered = Object.entries(tensors).sort(([, a], [, b]) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT);
  for (const [name, { shape, data }] of ordered) {
    header[name] = { dtype: dtypeOf(data), shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + padded + offset).fill(0x20, 8, 8 + padded);
  new DataView(out.buffer).setBigUint64(0, BigInt(padded), true);
  out.set(json, 8);
  let at = 8 + padded;
  for (const [, { data }] of ordered) {
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return out;
}

function dtypeOf(data: BatchTensor["data"]): "F32" | "I32" | "U8" {
  if (data instanceof Float32Array) return "F32";
  return data instanceof Int32Array ? "I32" : "U8";
}
