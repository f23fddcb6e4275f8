/**
 * Writes safetensors: tensors in name order, so that the same weights give the same bytes.
 * In: names, shapes and a function that gives each tensor when its turn comes; out: pieces of bytes, never the whole file.
 * A model over the shard size becomes several files and an index, as the hub lays large models out.
 */
import { fromFloat32, FLOAT_BYTES, type WrittenFormat } from "./float-formats.ts";
import type { Tensor } from "./checkpoint.ts";

export type SafetensorsPlan = {
  shapes: ReadonlyMap<string, number[]>;
  read: (name: string) => Promise<Float32Array>;
  format?: WrittenFormat;
  metadata?: Record<string, string>;
};

/** All of a small model in memory, float32. */
export function encodeSafetensors(tensors: ReadonlyMap<string, Tensor>, metadata: Record<string, string> = {}): Uint8Array {
  const shapes = new Map([...tensors].map(([name, { shape }]) => [name, shape]));
  const { head, bytesTotal, names } = layOut(shapes, "F32", metadata);
  const out = new Uint8Array(bytesTotal);
  out.set(head);
  let at = head.length;
  for (const name of names) {
    const bytes = fromFloat32((tensors.get(name) as Tensor).data, "F32");
    out.set(bytes, at);
    at += bytes.length;
  }
  return out;
}

export async function* safetensorsStream({ shapes, read, format = "F32", metadata = {} }: SafetensorsPlan): AsyncGenerator<Uint8Array> {
  const { head, names } = layOut(shapes, format, metadata);
  yield head;
  for (const name of names) yield fromFloat32(await read(name), format);
}

export type Shards = {
  index: { metadata: { total_size: number }; weight_map: Record<string, string> };
  files: Map<string, Map<string, number[]>>;
};

/** Which tensor goes into which file, each file at most `limitBytes` of numbers, in name order. */
export function shardTensors(shapes: ReadonlyMap<string, number[]>, limitBytes: number, format: WrittenFormat = "F32"): Shards {
  const groups: Map<string, number[]>[] = [];
  let room = 0;
  let total = 0;
  for (const name of [...shapes.keys()].sort()) {
    const shape = shapes.get(name) as number[];
    const bytes = product(shape) * FLOAT_BYTES[format];
    if (groups.length === 0 || bytes > room) {
      groups.push(new Map());
      room = limitBytes;
    }
    (groups.at(-1) as Map<string, number[]>).set(name, shape);
    room -= bytes;
    total += bytes;
  }
  const file = (i: number) => `model-${String(i + 1).padStart(5, "0")}-of-${String(groups.length).padStart(5, "0")}.safetensors`;
  const places = groups.flatMap((group, i) => [...group.keys()].map((name) => [name, file(i)] as const));
  return {
    index: { metadata: { total_size: total }, weight_map: Object.fromEntries(places) },
    files: new Map(groups.map((group, i) => [file(i), group])),
  };
}

function layOut(shapes: ReadonlyMap<string, number[]>, format: WrittenFormat, metadata: Record<string, string>) {
  const header: Record<string, unknown> = { __metadata__: metadata };
  const names = [...shapes.keys()].sort();
  let offset = 0;
  for (const name of names) {
    const shape = shapes.get(name) as number[];
    const bytes = product(shape) * FLOAT_BYTES[format];
    header[name] = { dtype: format, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8; // the numbers start at a multiple of eight, so that they can be mapped
  const head = new Uint8Array(8 + padded).fill(0x20, 8);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  return { head, names, bytesTotal: head.length + offset };
}

function product(shape: number[]): number {
  return shape.reduce((size, n) => size * n, 1);
}
