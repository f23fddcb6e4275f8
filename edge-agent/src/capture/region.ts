/**
 * Cuts a frame down to the region of interest before anything else sees it, so that nothing beside it is scored, kept or sent.
 * In: a frame. Out: the same one with the region as a lossless PNG and its digest; one whose picture does not reach over the whole
 * region, or cannot be read, has nothing to look at and is `frame-unreadable`.
 */
import { createHash } from "node:crypto";
import type { FrameRegion } from "@kenpin/schema";
import sharp from "sharp";
import type { Frame } from "../frame.ts";

/** As the inspector's own limit: 100 megapixels. */
const PIXEL_LIMIT = 100_000_000;

export async function cutToRegion(frame: Frame): Promise<Frame> {
  const { region } = frame.camera;
  if (!region || !frame.bytes) return frame;
  const bytes = await cut(frame.bytes, region);
  return bytes ? { ...frame, bytes, sha256: createHash("sha256").update(bytes).digest("hex") } : { ...frame, bytes: null };
}

async function cut(bytes: Uint8Array, { x, y, width, height }: FrameRegion): Promise<Uint8Array | null> {
  try {
    return await sharp(bytes, { limitInputPixels: PIXEL_LIMIT, failOn: "error" })
      .autoOrient()
      .extract({ left: x, top: y, width, height })
      .png({ compressionLevel: 1, adaptiveFiltering: false })
      .toBuffer();
  } catch {
    return null;
  }
}
