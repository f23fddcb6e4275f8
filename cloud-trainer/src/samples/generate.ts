/**
 * An endless stream of captioned surfaces: a material under a light, sometimes with a defect, always with its mask.
 * Seeded: the same seed gives the same pictures. Good pictures carry what confuses a detector too (see imaging.ts). About half
 * are defective: something was painted into them (defect.ts), or the product was made wrongly (surfaces/).
 */
import { createRandom, type Random } from "@kenpin/stats";
import { isVisible, paintDefect, type Planes } from "./defect.ts";
import type { Field } from "./field.ts";
import { drawLook, expose, type Look, shade } from "./imaging.ts";
import { type Flaw, MATERIALS, type Material, type Relief } from "./surface.ts";
import { blend, type Product } from "./surfaces/material.ts";

export { type Caption, captionOf, isTrueOf } from "./caption.ts";

export type Surface = {
  planes: Planes;
  /** Share of defect at each pixel, in [0, 1]; all zero for a good surface. */
  mask: Field;
  material: Material;
  /** What is wrong, if anything that can be seen. */
  defect: Flaw | null;
};
export type DrawOptions = { bad?: boolean; material?: Material; product?: Product; look?: Look };

const BAD_RATIO = 0.55;
/** Of bad surfaces whose product can be made wrongly. */
const MADE_WRONGLY_RATIO = 0.5;
/** Of other textures put into a surface, those of the same family made otherwise. */
const SAME_FAMILY_RATIO = 0.4;
/** What was made wrongly stands out sooner than what is painted: edges of parts and crystals are deviation enough of themselves. */
const WRONG_CONTRAST = 0.15;

export function surfaceStream(seed: number, side: number): () => Surface {
  const random = createRandom(seed);
  return () => drawSurface(random, side);
}

export function drawSurface(random: Random, side: number, options: DrawOptions = {}): Surface {
  const material = options.material ?? random.pick(MATERIALS);
  const look = options.look ?? drawLook(random);
  const { relief, spoil } = (options.product ?? material.create(random)).make(side, random);
  const good = shade(relief, look, side);
  const wanted = options.bad ?? random.next() < BAD_RATIO;
  const none = { planes: good, mask: new Float32Array(side * side), defect: null, contrast: 1 };
  const drawn = wanted ? spoilt(relief, { good, spoil, material, look }, random) : none;
  const { planes, mask, defect } = wanted && isVisible(good, drawn.planes, drawn.mask, drawn.contrast) ? drawn : none;
  return { planes: expose(planes, random), mask, material, defect };
}

type Ground = { good: Planes; spoil: ReturnType<Product["make"]>["spoil"]; material: Material; look: Look };

function spoilt(relief: Relief, { good, spoil, material, look }: Ground, random: Random) {
  const { side } = good;
  if (spoil && random.next() < MADE_WRONGLY_RATIO) {
    const wrong = spoil(random);
    return { planes: shade(blend(relief, wrong), look, side), mask: wrong.mask, defect: wrong.flaw as Flaw, contrast: WRONG_CONTRAST };
  }
  const family = random.next() < SAME_FAMILY_RATIO ? material : random.pick(MATERIALS);
  const strange = shade(family.create(random).make(side, random).relief, look, side);
  return { ...paintDefect(good, random, strange), contrast: undefined };
}
