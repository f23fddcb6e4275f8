/**
 * The directory of a zip file whose entries are stored, not packed, as PyTorch writes its checkpoints; zip64 included.
 * In: bytes in ranges. Out: for each name the place and length of its bytes; nothing is unpacked, so there is no bomb.
 * PKWARE's APPNOTE 6.3.10: 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16 (ends), 4.5.3 (zip64 sizes).
 */
import { KenpinError } from "@kenpin/schema";
import { type ByteSource, shown } from "./checkpoint.ts";

export type ZipEntry = { size: number; read: (from?: number, length?: number) => Promise<Uint8Array> };

const LOCAL = 0x04034b50;
const DIRECTORY = 0x02014b50;
const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
/** The end record, its longest comment and zip64's locator. */
const TAIL_BYTES = 22 + 65_535 + 20;
/** 2,000 tensors take 200 kB of directory. */
const DIRECTORY_LIMIT_BYTES = 32 * 1024 * 1024;
const ENTRY_LIMIT = 200_000;
const NEEDS_64 = 0xffffffff;

type Listed = { name: string; offset: number; size: number };

export async function openStoredZip(source: ByteSource): Promise<Map<string, ZipEntry>> {
  const { offset, size, count } = await findDirectory(source);
  const directory = viewOf(await range(source, offset, size));
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const { entry, next } = readListed(directory, at);
    at = next;
    if (entry.offset + 30 + entry.size > source.size) throw broken(`entry ${shown(entry.name)} ends past the file; it was cut short`);
    if (entries.has(entry.name)) throw broken(`entry ${shown(entry.name)} is there twice`);
    entries.set(entry.name, open(source, entry));
  }
  return entries;
}

function open(source: ByteSource, { name, offset, size }: Listed): ZipEntry {
  let begins: number | null = null;
  const read = async (from = 0, length = size) => {
    if (from < 0 || length < 0 || from + length > size) throw broken(`entry ${shown(name)} has ${size} bytes, not ${from + length}`);
    begins ??= await dataOffset(source, offset, name);
    return range(source, begins + from, length);
  };
  return { size, read };
}

/** The local header's name and padding may differ in length from the directory's. */
async function dataOffset(source: ByteSource, offset: number, name: string): Promise<number> {
  const local = viewOf(await range(source, offset, 30));
  if (local.getUint32(0, true) !== LOCAL) throw broken(`entry ${shown(name)} has no header where the directory says`);
  return offset + 30 + local.getUint16(26, true) + local.getUint16(28, true);
}

async function findDirectory(source: ByteSource): Promise<{ offset: number; size: number; count: number }> {
  const length = Math.min(source.size, TAIL_BYTES);
  const tailAt = source.size - length;
  const tail = viewOf(await range(source, tailAt, length));
  let end = length - 22;
  while (end >= 0 && tail.getUint32(end, true) !== END) end--;
  if (end < 0) throw broken("it has no zip directory at its end; it was cut short or is no zip file");
  let [count, size, offset] = [tail.getUint16(end + 10, true), tail.getUint32(end + 12, true), tail.getUint32(end + 16, true)];
  if (end >= 20 && tail.getUint32(end - 20, true) === LOCATOR_64) {
    const record = viewOf(await range(source, big(tail, end - 20 + 8), 56));
    if (record.getUint32(0, true) !== END_64) throw broken("its zip64 record is not where its locator says");
    [count, size, offset] = [big(record, 32), big(record, 40), big(record, 48)];
  }
  if (count > ENTRY_LIMIT || size > DIRECTORY_LIMIT_BYTES) throw broken(`its directory claims ${count} entries in ${size} bytes`);
  if (offset + size > source.size) throw broken("its directory lies past the end of the file");
  return { offset, size, count };
}

function readListed(view: DataView, at: number): { entry: Listed; next: number } {
  if (at + 46 > view.byteLength || view.getUint32(at, true) !== DIRECTORY)
    throw broken("its directory ends early or holds no entry where one should be");
  const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
  const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [
    number,
    number,
    number,
  ];
  const next = at + 46 + nameLength + extraLength + commentLength;
  if (next > view.byteLength) throw broken("its directory ends inside an entry");
  const name = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + 46, nameLength));
  if (flags & 1) throw broken(`entry ${shown(name)} is encrypted`);
  const sizes = { packed: view.getUint32(at + 20, true), size: view.getUint32(at + 24, true), offset: view.getUint32(at + 42, true) };
  readZip64(view, at + 46 + nameLength, extraLength, sizes);
  if (method !== 0 || sizes.packed !== sizes.size)
    throw broken(`entry ${shown(name)} is packed (method ${method}); PyTorch's checkpoints are stored`);
  return { entry: { name, offset: sizes.offset, size: sizes.size }, next };
}

/** Sizes that do not fit 32 bits stand in the extra field 0x0001, only those, in this order. */
function readZip64(view: DataView, from: number, length: number, sizes: { packed: number; size: number; offset: number }): void {
  let at = from;
  while (at + 4 <= from + length) {
    const [id, bytes] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    const end = at + 4 + bytes;
    if (id === 1) {
      let field = at + 4;
      for (const key of ["size", "packed", "offset"] as const) {
        if (sizes[key] !== NEEDS_64) continue;
        if (field + 8 > Math.min(end, from + length)) throw broken("its directory promises a 64-bit size that is not there");
        sizes[key] = big(view, field);
        field += 8;
      }
    }
    at = end;
  }
}

function big(view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw broken(`it claims an offset of ${value}`);
  return Number(value);
}

async function range(source: ByteSource, offset: number, length: number): Promise<Uint8Array> {
  if (offset < 0 || offset + length > source.size) throw broken("it points past its own end; it was cut short");
  return source.read(offset, length);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function broken(why: string): KenpinError {
  return new KenpinError("checkpoint-broken", `this is no whole PyTorch checkpoint: ${why}; fetch it again`);
}
