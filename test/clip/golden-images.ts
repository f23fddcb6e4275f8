/** The pictures of test/fixtures/clip/make_images.py: a line of JSON, then each file and what Pillow made of it. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

export type GoldenImage = { name: string; size: [number, number]; target: number; file: Uint8Array; pixels: Uint8Array };

export function readGoldenImages(path: string): GoldenImage[] {
  const bytes = gunzipSync(readFileSync(path));
  const line = bytes.indexOf(10);
  let at = line + 1;
  const listed = JSON.parse(bytes.toString("utf8", 0, line)) as (Pick<GoldenImage, "name" | "size" | "target"> & { bytes: number })[];
  return listed.map(({ bytes: length, ...entry }) => {
    const file = bytes.subarray(at, at + length);
    const pixels = bytes.subarray(at + length, at + length + entry.target ** 2 * 3);
    at += file.length + pixels.length;
    return { ...entry, file, pixels };
  });
}

/** Largest and mean difference in steps of 1/255. */
export function differenceOf(actual: Uint8Array, expected: Uint8Array): { largest: number; mean: number } {
  let [largest, sum] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const away = Math.abs((actual[i] as number) - (expected[i] as number));
    largest = Math.max(largest, away);
    sum += away;
  }
  return { largest: actual.length === expected.length ? largest : Number.POSITIVE_INFINITY, mean: sum / expected.length };
}
