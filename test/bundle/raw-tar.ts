/**
 * Tars written block by block (POSIX ustar), so that a test can put in what a well-behaved packer never would: links,
 * names that climb out, sizes that lie, headers that announce a gigabyte. In: entries. Out: bytes.
 */
export type RawEntry = { name: string; data: Uint8Array; type?: TypeFlag; link?: string; size?: number };
/** 0 file, 1 hard link, 2 symbolic link, 3 character device, 5 folder, x pax header, L GNU long name. */
export type TypeFlag = "0" | "1" | "2" | "3" | "5" | "x" | "L";

const BLOCK = 512;

export function rawTar(entries: readonly RawEntry[]): Buffer {
  return Buffer.concat([
    ...entries.flatMap(({ data, ...rest }) => [headerBlock({ data, ...rest }), padded(data)]),
    Buffer.alloc(2 * BLOCK),
  ]);
}

/** The plain files of a tar, and where each one's header and data lie. */
export function readTar(tar: Uint8Array): (RawEntry & { headerAt: number; dataAt: number })[] {
  const bytes = Buffer.from(tar);
  const entries: (RawEntry & { headerAt: number; dataAt: number })[] = [];
  for (let at = 0; bytes[at] !== 0; ) {
    const name = bytes.toString("utf8", at, bytes.indexOf(0, at));
    const size = Number.parseInt(bytes.toString("latin1", at + 124, at + 136), 8);
    entries.push({ name, data: bytes.subarray(at + BLOCK, at + BLOCK + size), headerAt: at, dataAt: at + BLOCK });
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return entries;
}

function headerBlock({ name, data, type = "0", link = "", size = data.length }: RawEntry): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) => block.write(value.toString(8).padStart(length - 1, "0"), at, "latin1");
  block.write(name, 0, 100, "utf8");
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write("        ", 148, "latin1"); // the checksum is taken over spaces in its own place
  block.write(type, 156, "latin1");
  block.write(link, 157, 100, "utf8");
  block.write("ustar\u000000", 257, "latin1");
  block.write(
    `${block
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
    "latin1",
  );
  return block;
}

function padded(data: Uint8Array): Buffer {
  return Buffer.concat([data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)]);
}
