/**
 * Where the files of a tar lie, so that any of them can be read without the ones before it.
 * In: a tar (POSIX ustar with pax headers, or GNU with long names). Out: name, offset and size of each file, in bytes; bodies
 * are passed over unread, so that an entry that claims 10 GB costs nothing until its name is refused.
 */
import { type FileHandle, open } from "node:fs/promises";
import { KenpinError } from "@kenpin/schema";

export type TarEntry = { name: string; offset: number; size: number };

const BLOCK = 512;
const ENTRIES = 10_000_000;
/** A long name or a pax header; nothing else is read into memory here. */
const EXTRA_LIMIT_BYTES = 64 * 1024;
type Header = { name: string; size: number; type: string };
type Extra = { path?: string; size?: number };

export async function* tarEntries(file: string): AsyncGenerator<TarEntry> {
  const handle = await open(file);
  try {
    const { size: length } = await handle.stat();
    let extra: Extra = {};
    let offset = 0;
    for (let count = 0; ; count++) {
      if (count > ENTRIES) throw broken(file, `it holds more than ${ENTRIES} entries`);
      const block = await readAt(handle, offset, BLOCK);
      // Without its end mark nobody knows whether more was to follow.
      if (block.length < BLOCK) throw broken(file, "it was cut short: it ends without the mark of an end");
      if (block.every((byte) => byte === 0)) return;
      const header = parseHeader(block, file);
      const [size, name] = [extra.size ?? header.size, extra.path ?? header.name];
      offset += BLOCK;
      if (offset + size > length) throw broken(file, `it was cut short inside ${name}, which should have ${size} bytes`);
      if (header.type === "x" || header.type === "L") {
        if (size > EXTRA_LIMIT_BYTES)
          throw broken(file, `the header before an entry has ${size} bytes, at most ${EXTRA_LIMIT_BYTES} are taken`);
        extra = { ...extra, ...parseExtra(header.type, await readAt(handle, offset, size)) };
      } else {
        if (header.type === "0") yield { name, offset, size };
        extra = {};
      }
      offset += Math.ceil(size / BLOCK) * BLOCK;
    }
  } finally {
    await handle.close();
  }
}

async function readAt(handle: FileHandle, offset: number, size: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size), 0, size, offset);
  return buffer.subarray(0, bytesRead);
}

function parseHeader(block: Buffer, file: string): Header {
  let sum = 8 * 32; // the checksum's own field counts as spaces
  for (const [i, byte] of block.entries()) if (i < 148 || i >= 156) sum += byte;
  if (sum !== octal(block.subarray(148, 156))) throw broken(file, "a header's checksum is wrong; is it a plain, uncompressed tar?");
  const [name, prefix] = [text(block.subarray(0, 100)), text(block.subarray(345, 500))];
  const isPosix = block.toString("latin1", 257, 263) === "ustar\0";
  const type = String.fromCharCode(block[156] as number);
  return {
    name: isPosix && prefix !== "" ? `${prefix}/${name}` : name,
    size: octal(block.subarray(124, 136)),
    type: type === "\0" ? "0" : type,
  };
}

/** A pax header is lines of "<length> <key>=<value>\n"; a GNU long name is the name itself. */
function parseExtra(type: string, body: Buffer): Extra {
  if (type === "L") return { path: text(body) };
  const extra: Extra = {};
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(32, at);
    const length = Number(body.toString("latin1", at, space));
    if (space < 0 || !(length > 0)) break;
    const [key = "", ...value] = body.toString("utf8", space + 1, at + length - 1).split("=");
    if (key === "path") extra.path = value.join("=");
    if (key === "size") extra.size = Number(value.join("="));
    at += length;
  }
  return extra;
}

/** Octal digits, or GNU's binary form for what octal digits cannot say. */
function octal(field: Buffer): number {
  if (((field[0] as number) & 0x80) !== 0)
    return Number(BigInt(`0x${field.toString("hex")}`) & ((1n << BigInt(field.length * 8 - 1)) - 1n));
  return Number.parseInt(text(field).trim() || "0", 8);
}

function text(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? field.length : end);
}

function broken(file: string, why: string): KenpinError {
  return new KenpinError("shard-broken", `${file} cannot be read: ${why}; write or copy it again`);
}
