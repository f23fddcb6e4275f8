/**
 * Generated surfaces on one page, as a PNG: a row a family, some good ones first, then bad ones, each with its flaw's name and the
 * outline of its mask. In: a seed, the side of a surface in pixels, how many a row. Enlarged by the nearest pixel: as the tower sees them.
 */
import { createRandom } from "@kenpin/stats";
import sharp, { type OverlayOptions } from "sharp";
import type { Field } from "./field.ts";
import { drawSurface, type Surface } from "./generate.ts";
import { MATERIALS } from "./surface.ts";

const SCALE = 2;
const GAP_PX = 6;
const TEXT_PX = 16;
const NAME_PX = 110;
/** Of a row's surfaces. */
const GOOD_SHARE = 0.3;

export async function surfaceSheet({ seed, side, columns }: { seed: number; side: number; columns: number }): Promise<Uint8Array> {
  const random = createRandom(seed);
  const [cellWidth, cellHeight] = [side * SCALE + GAP_PX, side * SCALE + TEXT_PX + GAP_PX];
  const overlays: OverlayOptions[] = [];
  for (const [row, material] of MATERIALS.entries()) {
    const top = GAP_PX + row * cellHeight;
    const name = material.lookAlikeOf === undefined ? material.name : `${material.name} ~ ${material.lookAlikeOf}`;
    overlays.push({ input: label(name, NAME_PX, cellHeight), left: GAP_PX, top });
    for (let column = 0; column < columns; column++) {
      const surface = drawSurface(random, side, { material, bad: column >= Math.round(columns * GOOD_SHARE) });
      const left = NAME_PX + GAP_PX + column * cellWidth;
      overlays.push({ input: await enlarged(surface, side), left, top });
      overlays.push({ input: label(surface.defect?.name ?? "good", cellWidth, TEXT_PX), left, top: top + side * SCALE });
    }
  }
  const [width, height] = [NAME_PX + GAP_PX + columns * cellWidth, GAP_PX + MATERIALS.length * cellHeight];
  const page = sharp({ create: { width, height, channels: 3, background: "#ffffff" } });
  return new Uint8Array(await page.composite(overlays).png().toBuffer());
}

function enlarged({ planes, mask }: Surface, side: number): Promise<Buffer> {
  const wide = side * SCALE;
  const data = Buffer.alloc(wide * wide * 3);
  for (let p = 0; p < wide * wide; p++) {
    const [x, y] = [p % wide, Math.floor(p / wide)];
    const at = Math.floor(y / SCALE) * side + Math.floor(x / SCALE);
    const onEdge = isOutline(mask, side, at) && (x + y) % 2 === 0;
    for (const [c, plane] of planes.rgb.entries()) data[p * 3 + c] = onEdge ? (c === 0 ? 255 : 0) : Math.round((plane[at] as number) * 255);
  }
  return sharp(data, { raw: { width: wide, height: wide, channels: 3 } })
    .png()
    .toBuffer();
}

/** Just outside the mask. */
function isOutline(mask: Field, side: number, at: number): boolean {
  if ((mask[at] as number) > 0.25) return false;
  const x = at % side;
  const near = [x > 0 ? at - 1 : at, x < side - 1 ? at + 1 : at, at - side, at + side];
  return near.some((other) => (mask[other] ?? 0) > 0.25);
}

function label(text: string, width: number, height: number): Buffer {
  const safe = text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><text x="0" y="12" font-family="sans-serif" font-size="11" fill="#222222">${safe}</text></svg>`,
  );
}
