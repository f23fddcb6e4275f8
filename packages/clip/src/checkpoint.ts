/**
 * A checkpoint as everything here sees it: named float tensors, read one at a time.
 * Where the bytes come from is an argument: a file, a download, a buffer, always in ranges, so that a file larger than
 * memory opens at once.
 */
import { KenpinError } from "@kenpin/schema";

/** Bytes that can be read in ranges; nobody writes to what `read` gave. */
export type ByteSource = { size: number; read: (offset: number, length: number) => Promise<Uint8Array> };
export type Tensor = { shape: number[]; data: Float32Array };
export type Checkpoint = {
  /** What kind of file this was. */
  format: "safetensors" | "pytorch";
  metadata: Record<string, string>;
  names: string[];
  shape: (name: string) => number[];
  /** The number format in the file, for the card. */
  stored: (name: string) => string;
  tensor: (name: string) => Promise<Float32Array>;
};

/** The largest published model of the family has about 2,000 tensors; a larger list is an attack, not a model. */
export const TENSOR_LIMIT = 100_000;
/** One tensor of 4 GB would be the largest a Float32Array of Node holds; none of the family is near. */
export const TENSOR_LIMIT_NUMBERS = 2 ** 30;

export function bytesSource(bytes: Uint8Array): ByteSource {
  return { size: bytes.length, read: async (offset, length) => bytes.subarray(offset, offset + length) };
}

/** How many numbers a shape holds; a shape past the limit is refused before anything is allocated. */
export function numbersIn(shape: number[], name: string): number {
  let numbers = 1;
  for (const size of shape) {
    numbers *= size;
    if (!(numbers <= TENSOR_LIMIT_NUMBERS))
      throw new KenpinError(
        "checkpoint-broken",
        `tensor ${shown(name)} claims more than ${TENSOR_LIMIT_NUMBERS} numbers; fetch the file again`,
      );
  }
  return numbers;
}

/** A name from a file that nobody has checked, fit for one line. */
export function shown(name: string): string {
  const clean = name.replaceAll(/[^\x20-\x7e]/g, "?");
  return clean.length > 120 ? `${clean.slice(0, 117)}...` : clean;
}
