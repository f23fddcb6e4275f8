/**
 * Decodes a picture into plain RGB. The one door to sharp for whoever needs pixels.
 * In: bytes of a JPEG, PNG, WebP, TIFF, GIF or AVIF. Out: width, height and RGB bytes, row by row; EXIF orientation is applied,
 * grey, CMYK and 16 bits become 8-bit RGB, transparency goes, of an animation the first picture counts.
 * Untrusted input: its kind and its pixel count are looked at before anything is unpacked, and no copy of the pixels is made.
 */
import { errorLine, KenpinError } from "@kenpin/schema";
import sharp, { type Sharp } from "sharp";

export type ImageSize = { width: number; height: number };
export type RgbImage = ImageSize & { data: Uint8Array };

/** A 100-megapixel frame unpacks to 300 MB; more than that is a bomb or a mistake. */
export const PIXEL_LIMIT = 100_000_000;
/** Up to here a picture is unpacked without asking first how large it is. */
const SMALL_PIXELS = 2_500_000;

/** By their first bytes; sharp would open more (SVG, PDF), which no camera gives and no line should parse. */
const KINDS: [name: string, starts: RegExp][] = [
  ["JPEG", /^\xff\xd8\xff/],
  ["PNG", /^\x89PNG/],
  ["GIF", /^GIF8/],
  ["WebP", /^RIFF.{4}WEBP/s],
  ["TIFF", /^(II\*\0|MM\0\*)/],
  ["AVIF", /^.{4}ftypavi[fs]/s],
];

sharp.concurrency(1); // frames are small and the cores belong to the model
sharp.cache(false);

export async function decodeImage(bytes: Uint8Array, pixelLimit = PIXEL_LIMIT): Promise<RgbImage> {
  return (await decodeWithin(bytes, (size) => size, pixelLimit)).image;
}

/**
 * The picture at its own size, or at a smaller one that `fit` asks for: then it is shrunk while it is unpacked, and the whole of
 * it never lies in memory. `size` is the picture's own.
 */
export async function decodeWithin(
  bytes: Uint8Array,
  fit: (size: ImageSize) => ImageSize,
  pixelLimit = PIXEL_LIMIT,
): Promise<{ image: RgbImage; size: ImageSize }> {
  expectPicture(bytes);
  const small = await decodeSmall(bytes, Math.min(pixelLimit, SMALL_PIXELS));
  if (small && !shrinks(small, fit(small))) return { image: small, size: { width: small.width, height: small.height } };
  try {
    const picture = open(bytes, pixelLimit);
    const { autoOrient: size, orientation = 1 } = await picture.metadata();
    const wanted = fit(size);
    const upright = orientation > 1 ? picture.autoOrient() : picture; // a turn that turns nothing costs a copy all the same
    const shrunk = shrinks(size, wanted)
      ? upright.resize(wanted.width, wanted.height, { fit: "fill", kernel: "cubic", fastShrinkOnLoad: false })
      : upright;
    return { image: await unpack(shrunk), size };
  } catch (error) {
    throw unreadable(`${errorLine(error).split("\n")[0]}`, error);
  }
}

/** A second look at the header costs a sixth of a small picture's decoding: null where there must be one, and why is found then. */
async function decodeSmall(bytes: Uint8Array, pixelLimit: number): Promise<RgbImage | null> {
  return unpack(open(bytes, pixelLimit).autoOrient()).catch(() => null);
}

function open(bytes: Uint8Array, limitInputPixels: number): Sharp {
  return sharp(bytes, { limitInputPixels, failOn: "error" });
}

async function unpack(picture: Sharp): Promise<RgbImage> {
  const plain = picture.removeAlpha().toColourspace("srgb").raw({ depth: "uchar" });
  const { data, info } = await plain.toBuffer({ resolveWithObject: true });
  const rgb = info.channels === 1 ? spread(data) : new Uint8Array(data.buffer, data.byteOffset, data.length);
  return { width: info.width, height: info.height, data: rgb };
}

function shrinks(size: ImageSize, wanted: ImageSize): boolean {
  return wanted.width < size.width || wanted.height < size.height;
}

/** Resizes with sharp's bicubic kernel; for frames that need shrinking into fewer tiles or are smaller than one. */
export async function resizeImage(image: RgbImage, width: number, height: number): Promise<RgbImage> {
  const raw = { width: image.width, height: image.height, channels: 3 as const };
  const data = await sharp(image.data, { raw, limitInputPixels: false })
    .resize(width, height, { fit: "fill", kernel: "cubic" })
    .raw()
    .toBuffer();
  return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}

function expectPicture(bytes: Uint8Array): void {
  if (bytes.length === 0) throw new KenpinError("image-unreadable", "the image is empty: zero bytes; look at the camera's connection");
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(16, bytes.length)).toString("latin1");
  if (KINDS.some(([, starts]) => starts.test(start))) return;
  const seen = start.replace(/[^ -~]/g, ".");
  throw unreadable(`it begins with "${seen}", as none of ${KINDS.map(([name]) => name).join(", ")} does`);
}

function unreadable(why: string, cause?: unknown): KenpinError {
  return new KenpinError("image-unreadable", `the image cannot be read (${why}); expected a whole JPEG or PNG`, { cause });
}

function spread(grey: Uint8Array): Uint8Array {
  const rgb = new Uint8Array(grey.length * 3);
  for (let i = 0; i < grey.length; i++) rgb.fill(grey[i] as number, i * 3, i * 3 + 3);
  return rgb;
}
