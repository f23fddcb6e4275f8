/**
 * What a family of surfaces is: words an engineer would use, constants that make one product of it, and ways to make it wrongly.
 * In: a random stream. Out: reliefs: heights of mean 0 and deviation near 1, and where a second colour covers the first.
 * `lookAlikeOf` marks a family that resembles a real set kept for measuring, so that results can be given with it left out.
 * No constant of any family was fitted to a real picture. kenpin_torch/generator/ draws the same families on a GPU.
 */
import type { Random } from "@kenpin/stats";
import type { Field } from "../field.ts";

export type Relief = { height: Field; coat: Field | null };
/** What can be wrong, as captions say it: "{} with <words>", "<adjectives> {}". */
export type Flaw = { name: string; words: string[]; adjectives: string[] };
export type Spoilt = { flaw: Flaw; relief: Relief; mask: Field };
/** One product of a family; `spoil` makes it wrongly where its mask is, and is null where nothing can be made wrongly. */
export type Product = {
  make: (side: number, random: Random) => { relief: Relief; spoil: ((random: Random) => Spoilt) | null };
};
export type Material = {
  name: string;
  words: string[];
  lookAlikeOf?: string;
  flaws: Flaw[];
  create: (random: Random) => Product;
};

type Making<C> = {
  name: string;
  words: string[];
  lookAlikeOf?: string;
  draw: (random: Random) => C;
  /** How this piece lies before the camera; what is common to its good and its spoilt form. */
  pose?: (constants: C, random: Random) => C;
  render: (constants: C, side: number, random: Random) => Relief;
  flaws?: (Flaw & { spoil: (constants: C, side: number, random: Random) => { constants: C; mask: Field } })[];
};

export function material<C>({ name, words, lookAlikeOf, draw, pose, render, flaws = [] }: Making<C>): Material {
  const create = (random: Random): Product => {
    const product = draw(random);
    return {
      make: (side, stream) => {
        const constants = pose ? pose(product, stream) : product;
        const spoil = (again: Random): Spoilt => {
          const flaw = again.pick(flaws);
          const { constants: wrong, mask } = flaw.spoil(constants, side, again);
          return { flaw, relief: render(wrong, side, again), mask };
        };
        return { relief: render(constants, side, stream), spoil: flaws.length > 0 ? spoil : null };
      },
    };
  };
  return { name, words, ...(lookAlikeOf === undefined ? {} : { lookAlikeOf }), flaws, create };
}

/** The first where the mask is 0, the second where it is 1. */
export function blend(good: Relief, { relief, mask }: Pick<Spoilt, "relief" | "mask">): Relief {
  const mixed = (a: Field, b: Field) => a.map((value, i) => value + (mask[i] as number) * ((b[i] as number) - value));
  const coat = good.coat && relief.coat ? mixed(good.coat, relief.coat) : null;
  return { height: mixed(good.height, relief.height), coat };
}
