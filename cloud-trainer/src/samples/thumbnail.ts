/** A picture small enough for a page, as a data: URI. In: bytes of a picture; an overlay keeps what is clear in it. */
import sharp from "sharp";

/** Of the longer side, in pixels. */
const SIDE = 320;

export async function thumbnail(bytes: Uint8Array, kind: "picture" | "overlay"): Promise<string> {
  const small = sharp(bytes).rotate().resize(SIDE, SIDE, { fit: "inside", withoutEnlargement: true });
  const [type, encoded] = kind === "picture" ? ["jpeg", small.jpeg({ quality: 80 })] : ["png", small.png({ compressionLevel: 9 })];
  return `data:image/${type};base64,${(await encoded.toBuffer()).toString("base64")}`;
}
