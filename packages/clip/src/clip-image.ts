/**
 * Decodes a picture for a published CLIP model: the RGB bytes of Pillow's exif_transpose and convert("RGB").
 * That is: colour profiles ignored, alpha dropped without blending, palettes spread, CMYK by the plain formula, 16-bit
 * colour by its high byte. One difference: Pillow cuts 16-bit grey at 255, so that a camera's frame turns white; here it is
 * its high byte too. Inspection frames go through image.ts, which honours colour profiles.
 */
import { errorLine, KenpinError } from "@kenpin/schema";
import sharp from "sharp";
import { PIXEL_LIMIT, type RgbImage } from "./image.ts";

export async function decodeForClip(bytes: Uint8Array, pixelLimit = PIXEL_LIMIT): Promise<RgbImage> {
  if (bytes.length === 0) throw new KenpinError("image-unreadable", "the image is empty: zero bytes; expected a whole picture file");
  try {
    const options = { limitInputPixels: pixelLimit, failOn: "error", ignoreIcc: true } as const;
    const { space } = await sharp(bytes, options).metadata();
    const decoded = sharp(bytes, options).rotate();
    const toned =
      space === "cmyk" ? decoded.pipelineColourspace("cmyk").toColourspace("cmyk") : decoded.removeAlpha().toColourspace("srgb");
    const { data, info } = await toned.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: toRgb(data, info.channels) };
  } catch (error) {
    const why = errorLine(error).split("\n")[0];
    throw new KenpinError("image-unreadable", `the image cannot be read (${why}); expected a whole JPEG, PNG, WebP, TIFF or GIF`, {
      cause: error,
    });
  }
}

function toRgb(data: Uint8Array, channels: number): Uint8Array {
  if (channels === 3) return new Uint8Array(data);
  const pixels = data.length / channels;
  const rgb = new Uint8Array(pixels * 3);
  if (channels === 1) for (let i = 0; i < pixels; i++) rgb.fill(data[i] as number, i * 3, i * 3 + 3);
  else if (channels === 4) for (let i = 0; i < pixels; i++) fromCmyk(data, i, rgb);
  else throw new KenpinError("image-unreadable", `the image has ${channels} channels; expected grey, RGB or CMYK`);
  return rgb;
}

/** Pillow's cmyk2rgb: 255 − K − C·(255 − K) / 255, the product rounded. */
function fromCmyk(cmyk: Uint8Array, pixel: number, rgb: Uint8Array): void {
  const light = 255 - (cmyk[pixel * 4 + 3] as number);
  for (let c = 0; c < 3; c++) {
    const product = (cmyk[pixel * 4 + c] as number) * light + 128;
    rgb[pixel * 3 + c] = Math.max(0, light - (((product >> 8) + product) >> 8));
  }
}
