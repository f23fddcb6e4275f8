/**
 * A set on one page: some pictures of each kind, each with its label's colour, its kind and its name, as a PNG.
 * In: a set and how many pictures. Out: PNG bytes. Which pictures are shown follows from their digests, so that nobody shows
 * only the best ones; each kind gets its share, but at least one.
 */
import { decodeImage, resizeImage } from "@kenpin/clip";
import sharp, { type OverlayOptions } from "sharp";
import type { Picture, PictureSet, ReadOptions } from "./picture.ts";

const THUMB_PX = 128;
const GAP_PX = 10;
const TEXT_PX = 30;
const FRAME_PX = 4;
/** What fits below a picture at 11 pixels. */
const KIND_LETTERS = 14;
const NAME_LETTERS = 20;
/** Told apart by the colour-blind too (Okabe and Ito 2008). */
const COLOURS = { good: "#0072b2", bad: "#d55e00", none: "#888888" };

export async function contactSheet(
  set: PictureSet,
  { count, columns, ...options }: ReadOptions & { count: number; columns: number },
): Promise<Uint8Array> {
  const shown = pickShown(set.pictures, count);
  const [cellWidth, cellHeight] = [THUMB_PX + GAP_PX, THUMB_PX + TEXT_PX + GAP_PX];
  const across = Math.min(columns, shown.length);
  const overlays: OverlayOptions[] = [];
  for (const [i, picture] of shown.entries()) {
    options.signal?.throwIfAborted();
    const [left, top] = [GAP_PX + (i % across) * cellWidth, GAP_PX + Math.floor(i / across) * cellHeight];
    overlays.push(...(await cellOf(picture, left, top)));
    options.onProgress?.(i + 1, shown.length);
  }
  const [width, height] = [GAP_PX + across * cellWidth, GAP_PX + Math.ceil(shown.length / across) * cellHeight];
  const page = sharp({ create: { width, height, channels: 3, background: "#ffffff" } });
  return new Uint8Array(await page.composite(overlays).png().toBuffer());
}

/** Kind by kind, each with its share of the places, in the order of their digests. */
function pickShown(pictures: readonly Picture[], count: number): Picture[] {
  const kinds = new Map<string, Picture[]>();
  for (const picture of pictures) {
    const kind = `${picture.label === "good" ? 0 : 1} ${picture.label} ${picture.defect ?? ""}`;
    const members = kinds.get(kind);
    if (members) members.push(picture);
    else kinds.set(kind, [picture]);
  }
  const ordered = [...kinds].sort(([a], [b]) => order(a, b)).map(([, members]) => members);
  return ordered
    .flatMap((members) => {
      const share = Math.max(1, Math.floor((count * members.length) / pictures.length));
      return members.sort((a, b) => order(a.sha256, b.sha256)).slice(0, share);
    })
    .slice(0, count);
}

async function cellOf(picture: Picture, left: number, top: number): Promise<OverlayOptions[]> {
  const colour = COLOURS[picture.label ?? "none"];
  const frame = `<svg xmlns="http://www.w3.org/2000/svg" width="${THUMB_PX}" height="${THUMB_PX + TEXT_PX}">
    <rect width="${THUMB_PX}" height="${THUMB_PX}" fill="${colour}"/>
    <g font-family="sans-serif" font-size="11"><text x="0" y="${THUMB_PX + 13}" font-weight="bold" fill="${colour}">${asXml(kindOf(picture))}</text>
    <text x="0" y="${THUMB_PX + 26}" fill="#444444">${asXml(tail(picture.key))}</text></g></svg>`;
  const thumb = await thumbOf(picture);
  const cell = { input: Buffer.from(frame), left, top };
  if (!thumb) return [cell];
  const inset = (length: number) => Math.floor((THUMB_PX - length) / 2);
  const raw = { width: thumb.width, height: thumb.height, channels: 3 } as const;
  return [cell, { input: Buffer.from(thumb.data), raw, left: left + inset(thumb.width), top: top + inset(thumb.height) }];
}

/** Null for what cannot be read: its place on the page stays one plain colour. */
async function thumbOf(picture: Picture) {
  const image = await picture
    .bytes()
    .then((bytes) => decodeImage(bytes))
    .catch(() => null);
  if (!image) return null;
  const scale = (THUMB_PX - 2 * FRAME_PX) / Math.max(image.width, image.height);
  return resizeImage(image, Math.max(1, Math.round(image.width * scale)), Math.max(1, Math.round(image.height * scale)));
}

/** The colour says good or bad. */
function kindOf({ label, defect, split }: Picture): string {
  const kind = [...(defect ?? label ?? "no label")];
  const short = kind.length <= KIND_LETTERS ? kind.join("") : `${kind.slice(0, KIND_LETTERS - 1).join("")}…`;
  return split === null ? short : `${short}, ${split}`;
}

/** The end of a path tells more than its beginning. */
function tail(key: string): string {
  const letters = [...key];
  return letters.length <= NAME_LETTERS ? key : `…${letters.slice(1 - NAME_LETTERS).join("")}`;
}

function asXml(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`).replace(/\p{Cc}/gu, " ");
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
