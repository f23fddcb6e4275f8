/**
 * Generated surfaces as pictures of a camera's size: golden images that prove a device, and episodes (good references of
 * one material, then good and bad frames of it) that a scoring rule is chosen on before any real picture is looked at.
 */
import { createRandom, type Random } from "@kenpin/stats";
import sharp from "sharp";
import type { Planes } from "./defect.ts";
import type { Field } from "./field.ts";
import { drawSurface } from "./generate.ts";
import { again, drawLook } from "./imaging.ts";
import { MATERIALS, type Material } from "./surface.ts";

/** `mask` [side²] is the share of defect at each pixel; null where the whole frame is another material than it should be. */
type Judged = { png: Uint8Array; bad: boolean; mask: Field | null };
export type Episode = { material: string; references: Uint8Array[]; frames: Judged[] };

const GOLDEN_PX = 160;

/** Two good and two bad surfaces, of four plain materials; the same seed gives the same bytes. */
export async function goldenPictures(seed: number): Promise<{ file: string; png: Uint8Array }[]> {
  const random = createRandom(seed);
  const wanted = [false, true, false, true];
  return Promise.all(
    wanted.map(async (bad, i) => {
      const { planes } = drawSurface(random, GOLDEN_PX, { bad, material: MATERIALS[i] as Material });
      return { file: `golden/${bad ? "bad" : "good"}-${i + 1}.png`, png: await toPng(planes) };
    }),
  );
}

/**
 * One material under one light and colour: `references` good frames to teach, then `frames` to judge, half of them bad. Bad ones
 * have a defect somewhere, or with `changed` are the same kind of material made otherwise (another weave, another grain).
 */
export async function drawEpisode(
  random: Random,
  options: { sidePx: number; references: number; frames: number; changed?: boolean },
): Promise<Episode> {
  const family = random.pick(MATERIALS);
  const product = family.create(random);
  const other = options.changed ? family.create(random) : null;
  const look = drawLook(random);
  const draw = async (bad: boolean): Promise<Judged> => {
    const changed = bad && other !== null;
    const { planes, mask, defect } = drawSurface(random, options.sidePx, {
      bad: bad && !changed,
      material: family,
      product: changed ? other : product,
      look: again(look, random),
    });
    return { png: await toPng(planes), bad: changed || defect !== null, mask: changed ? null : mask };
  };
  const references: Uint8Array[] = [];
  for (let i = 0; i < options.references; i++) references.push((await draw(false)).png);
  const frames: Judged[] = [];
  for (let i = 0; i < options.frames; i++) frames.push(await draw(i % 2 === 1));
  return { material: family.name, references, frames };
}

async function toPng({ side, rgb }: Planes): Promise<Uint8Array> {
  const data = Buffer.alloc(side * side * 3);
  for (const [c, plane] of rgb.entries()) for (let i = 0; i < plane.length; i++) data[i * 3 + c] = toByte(plane, i);
  return new Uint8Array(
    await sharp(data, { raw: { width: side, height: side, channels: 3 } })
      .png()
      .toBuffer(),
  );
}

function toByte(plane: Field, i: number): number {
  return Math.round((plane[i] as number) * 255);
}
