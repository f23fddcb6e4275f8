/**
 * What kind of picture a file is, by its first bytes; its name may say anything.
 * In: the file's bytes. Out: the ending such a file should have, or null for what is no picture at all.
 */
const SIGNATURES: readonly [ending: string, at: number, bytes: readonly number[]][] = [
  ["jpg", 0, [0xff, 0xd8, 0xff]],
  ["png", 0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ["webp", 8, [0x57, 0x45, 0x42, 0x50]],
  ["tif", 0, [0x49, 0x49, 0x2a, 0x00]],
  ["tif", 0, [0x4d, 0x4d, 0x00, 0x2a]],
  ["gif", 0, [0x47, 0x49, 0x46, 0x38]],
  ["bmp", 0, [0x42, 0x4d]],
];
const SAME: Record<string, string> = { jpeg: "jpg", tiff: "tif" };

export function pictureType(bytes: Uint8Array): string | null {
  return SIGNATURES.find(([, at, wanted]) => wanted.every((byte, i) => bytes[at + i] === byte))?.[0] ?? null;
}

/** The type a name claims: "jpg" for photo.JPEG, null for a name without an ending. */
export function claimedType(name: string): string | null {
  const ending = /\.([^./]+)$/.exec(name)?.[1]?.toLowerCase();
  return ending === undefined ? null : (SAME[ending] ?? ending);
}
