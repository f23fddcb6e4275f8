/**
 * Pictures as an evaluation needs them: each with its label and kind, and once looked at with its plain features. In: what a set
 * says of its pictures. Out: those that can be read, and those left out with the reason; a set of which too many cannot be read is
 * refused, since what is left would no longer be the set. Masks are checked against their pictures here, before hours are spent.
 */
import { decodeImage } from "@kenpin/clip";
import { errorLine, KenpinError } from "@kenpin/schema";
import { plainFeatures } from "./plain-features.ts";

export type EvaluatedPicture = {
  key: string;
  sha256: string;
  label: "good" | "bad";
  /** Of defect; "good" where there is none. */
  kind: string;
  split: "train" | "test" | null;
  bytes: () => Promise<Uint8Array>;
  mask: (() => Promise<Uint8Array>) | null;
};
export type SeenPicture = EvaluatedPicture & {
  /** Plain features, for the opponent. */
  row: number[];
  /** Mean grey level in [0, 255]. */
  brightness: number;
};
export type Mask = { values: Uint8Array; width: number; height: number };
type LeftOut = { picture: string; why: string };

/** Of all pictures; past this a figure would be of another set than the one named. */
const LEFT_OUT_SHARE = 0.1;

export async function seePictures(
  pictures: readonly EvaluatedPicture[],
  onProgress: (done: number, of: number) => void,
): Promise<{ seen: SeenPicture[]; leftOut: LeftOut[] }> {
  const seen: SeenPicture[] = [];
  const leftOut: LeftOut[] = [];
  for (const [i, picture] of pictures.entries()) {
    const looked = await look(picture);
    if ("why" in looked) leftOut.push(looked);
    else seen.push(looked);
    onProgress(i + 1, pictures.length);
  }
  if (leftOut.length > LEFT_OUT_SHARE * pictures.length) {
    const first = leftOut.slice(0, 3).map(({ picture, why }) => `${picture}: ${why}`);
    throw new KenpinError(
      "set-unreadable",
      `${leftOut.length} of ${pictures.length} pictures cannot be read, more than ${LEFT_OUT_SHARE * 100} %; mend or remove them (${first.join("; ")})`,
    );
  }
  return { seen, leftOut };
}

async function look(picture: EvaluatedPicture): Promise<SeenPicture | LeftOut> {
  const decoded = await decode(picture).catch((error: unknown) => ({ picture: picture.key, why: errorLine(error) }));
  if ("why" in decoded) return decoded;
  if (Math.min(decoded.width, decoded.height) < 8)
    return { picture: picture.key, why: `${decoded.width} × ${decoded.height} pixels are too few` };
  if (picture.mask) await readMask(picture, decoded);
  let sum = 0;
  for (const value of decoded.data) sum += value;
  return { ...picture, row: plainFeatures(decoded), brightness: sum / decoded.data.length };
}

async function decode({ bytes }: EvaluatedPicture) {
  return decodeImage(await bytes());
}

/** 1 where the mask is brighter than half its brightest; some tools save masks as 0 and 255, some as 0 and 1. */
export async function readMask({ key, mask }: EvaluatedPicture, size: { width: number; height: number }): Promise<Mask> {
  if (!mask) return { ...size, values: new Uint8Array(size.width * size.height) };
  const { width, height, data } = await decodeImage(await mask());
  if (width !== size.width || height !== size.height) {
    throw new KenpinError(
      "mask-size",
      `the mask of ${key} has ${width} × ${height} pixels, its picture ${size.width} × ${size.height}; save the mask in its picture's size`,
    );
  }
  const half = data.reduce((most, value) => Math.max(most, value), 0) / 2;
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i++) values[i] = Number((data[i * 3] as number) > half);
  return { values, width, height };
}
