/** Writes a zip with stored entries, plain or zip64, for tests that need files PyTorch would not write. */
export function storedZip(files: ReadonlyMap<string, Uint8Array>, { zip64 = false } = {}): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const [name, data] of files) {
    const bytes = new TextEncoder().encode(name);
    const local = record(
      30,
      [
        [0, 0x04034b50],
        [18, data.length],
        [22, data.length],
      ],
      [[26, bytes.length]],
    );
    const listed = zip64 ? [0xffffffff, 0xffffffff, 0xffffffff] : [data.length, data.length, offset];
    const extra = zip64 ? wide([1n | (24n << 16n)], [BigInt(data.length), BigInt(data.length), BigInt(offset)]) : new Uint8Array();
    const entry = record(
      46,
      [
        [0, 0x02014b50],
        [20, listed[0] as number],
        [24, listed[1] as number],
        [42, listed[2] as number],
      ],
      [
        [28, bytes.length],
        [30, extra.length],
      ],
    );
    parts.push(local, bytes, data);
    directory.push(entry, bytes, extra);
    offset += local.length + bytes.length + data.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = zip64 ? endOf64(files.size, size, offset) : [];
  const last = zip64 ? [0xffffffff, 0xffffffff] : [size, offset];
  const count = zip64 ? 0xffff : files.size;
  return Buffer.concat([
    ...parts,
    ...directory,
    ...end,
    record(
      22,
      [
        [0, 0x06054b50],
        [12, last[0] as number],
        [16, last[1] as number],
      ],
      [
        [8, count],
        [10, count],
      ],
    ),
  ]);
}

function endOf64(count: number, size: number, offset: number): Uint8Array[] {
  const end = record(56, [[0, 0x06064b50]], []);
  const view = new DataView(end.buffer);
  for (const [at, value] of [
    [4, 44],
    [24, count],
    [32, count],
    [40, size],
    [48, offset],
  ] as const)
    view.setBigUint64(at, BigInt(value), true);
  const locator = record(
    20,
    [
      [0, 0x07064b50],
      [16, 1],
    ],
    [],
  );
  new DataView(locator.buffer).setBigUint64(8, BigInt(offset + size), true);
  return [end, locator];
}

/** A record of `length` bytes with 32-bit and 16-bit fields at the given places. */
function record(length: number, fields32: [number, number][], fields16: [number, number][]): Uint8Array {
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  for (const [at, value] of fields32) view.setUint32(at, value, true);
  for (const [at, value] of fields16) view.setUint16(at, value, true);
  return out;
}

function wide(head: [bigint], values: bigint[]): Uint8Array {
  const out = new Uint8Array(4 + values.length * 8);
  const view = new DataView(out.buffer);
  view.setUint32(0, Number(head[0]), true);
  for (const [i, value] of values.entries()) view.setBigUint64(4 + i * 8, value, true);
  return out;
}
