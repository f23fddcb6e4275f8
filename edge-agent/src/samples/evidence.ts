/**
 * What of a frame may leave the device, by the camera's evidence policy.
 * none    nothing, and nothing is written either
 * frame   the bytes as they came (other formats as PNG), and the heat map
 * region  a PNG of the box around the hottest regions, at most half of the picture, without map and metadata
 */
import { createHash } from "node:crypto";
import { PIXEL_LIMIT } from "@kenpin/clip";
import type { Inspection } from "@kenpin/inspector";
import type { Evidence, Region } from "@kenpin/schema";
import sharp from "sharp";

export type Picture = { sha256: string; bytes: Uint8Array; type: "image/jpeg" | "image/png" };
export type EvidenceParts = { evidence: "region" | "frame"; frame: Picture; map: Picture | null };

/** Half of the picture's area: past that a region would be a frame by another name. */
const REGION_SIDE_RATIO = Math.SQRT1_2;
/** A region without surroundings shows nothing to a person. */
const MARGIN_RATIO = 0.25;

export async function evidenceOf(
  policy: Evidence,
  { bytes, inspection, map }: { bytes: Uint8Array; inspection: Inspection; map: () => Promise<Uint8Array | null> },
): Promise<EvidenceParts | null> {
  if (policy === "none") return null;
  if (policy === "region") return { evidence: policy, frame: await cropRegion(bytes, inspection), map: null };
  const heat = await map();
  return { evidence: policy, frame: await asPicture(bytes), map: heat && heat.length > 0 ? picture(heat, "image/png") : null };
}

/** The box to cut out, in whole pixels; the middle where nothing is hot, so that a random draw stays random. */
export function regionBox({ regions, width, height }: Pick<Inspection, "regions" | "width" | "height">) {
  const [wide, high] = [width * REGION_SIDE_RATIO, height * REGION_SIDE_RATIO];
  const around = boundsOf(regions);
  const fits = around && around.width <= wide && around.height <= high;
  const box = (fits ? around : boundsOf(regions.slice(0, 1))) ?? { x: width / 4, y: height / 4, width: width / 2, height: height / 2 };
  const across = place(box.x, box.width, wide, width);
  const down = place(box.y, box.height, high, height);
  return { left: across.start, top: down.start, width: across.length, height: down.length };
}

/** Widens by the margin, shortens to the limit around its middle, and shifts inside the picture. */
function place(start: number, length: number, limit: number, whole: number): { start: number; length: number } {
  const wanted = Math.max(1, Math.floor(Math.min(limit, length * (1 + 2 * MARGIN_RATIO))));
  const from = Math.round(start + length / 2 - wanted / 2);
  return { start: Math.min(Math.max(0, from), whole - wanted), length: wanted };
}

function boundsOf(regions: readonly Region[]): Omit<Region, "score"> | null {
  if (regions.length === 0) return null;
  const x = Math.min(...regions.map((region) => region.x));
  const y = Math.min(...regions.map((region) => region.y));
  const right = Math.max(...regions.map((region) => region.x + region.width));
  const bottom = Math.max(...regions.map((region) => region.y + region.height));
  return { x, y, width: right - x, height: bottom - y };
}

async function cropRegion(bytes: Uint8Array, inspection: Inspection): Promise<Picture> {
  const upright = sharp(bytes, { limitInputPixels: PIXEL_LIMIT }).rotate(); // regions are in the upright picture's pixels
  return picture(await upright.extract(regionBox(inspection)).png().toBuffer(), "image/png");
}

async function asPicture(bytes: Uint8Array): Promise<Picture> {
  if (startsWith(bytes, [0xff, 0xd8, 0xff])) return picture(bytes, "image/jpeg");
  if (startsWith(bytes, [0x89, 0x50, 0x4e, 0x47])) return picture(bytes, "image/png");
  return picture(await sharp(bytes, { limitInputPixels: PIXEL_LIMIT }).rotate().png().toBuffer(), "image/png");
}

function picture(bytes: Uint8Array, type: Picture["type"]): Picture {
  return { sha256: createHash("sha256").update(bytes).digest("hex"), bytes, type };
}

function startsWith(bytes: Uint8Array, head: number[]): boolean {
  return head.every((byte, i) => bytes[i] === byte);
}
