/**
 * Decodes a picture into plain RGB. The one door to sharp for whoever needs pixels.
 * In: bytes of a JPEG, PNG, WebP, TIFF or BMP-like file. Out: width, height and RGB bytes, row by row; EXIF orientation
 * is applied, grey and alpha become RGB on black. Untrusted input: the pixel count is bounded before anything is unpacked.
 */
import { errorLine, KenpinError } from "@kenpin/schema";
import sharp from "sharp";

export type RgbImage = { width: number; height: number; data: Uint8Array };

/** A 100-megapixel frame unpacks to 300 MB; more than that is a bomb or a mistake. */
export const PIXEL_LIMIT = 100_000_000;

sharp.concurrency(1); // frames are small and the cores belong to the model
sharp.cache(false);

export async function decodeImage(bytes: Uint8Array, pixelLimit = PIXEL_LIMIT): Promise<RgbImage> {
  if (bytes.length === 0) throw new KenpinError("image-unreadable", "the image is empty: zero bytes; look at the camera's connection");
  try {
    const { data, info } = await sharp(bytes, { limitInputPixels: pixelLimit, failOn: "error" })
      .rotate()
      .removeAlpha()
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: info.channels === 1 ? spread(data) : new Uint8Array(data) };
  } catch (error) {
    throw new KenpinError(
      "image-unreadable",
      `the image cannot be read (${errorLine(error).split("\n")[0]}); expected a whole JPEG or PNG`,
      {
        cause: error,
      },
    );
  }
}

/** Resizes with sharp's bicubic kernel; for frames that need shrinking into fewer tiles or are smaller than one. */
export async function resizeImage(image: RgbImage, width: number, height: number): Promise<RgbImage> {
  const raw = { width: image.width, height: image.height, channels: 3 as const };
  const data = await sharp(image.data, { raw }).resize(width, height, { fit: "fill", kernel: "cubic" }).raw().toBuffer();
  return { width, height, data: new Uint8Array(data) };
}

function spread(grey: Uint8Array): Uint8Array {
  const rgb = new Uint8Array(grey.length * 3);
  for (let i = 0; i < grey.length; i++) rgb.fill(grey[i] as number, i * 3, i * 3 + 3);
  return rgb;
}
