/**
 * What a model in fewer bits is judged by where no labelled picture is at hand: the base words, captions, and generated
 * surfaces of one tile, half of them with a defect, with its mask. The same every time.
 */
import { tileFrame } from "@kenpin/clip";
import type { Preprocess } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import type { Judged } from "./quantize/fidelity.ts";
import { captionOf, drawSurface, surfaceStream } from "./samples/generate.ts";
import { MATERIALS } from "./samples/surface.ts";
import { BASE_WORDS } from "./samples/words.ts";

const SEED = 8;
/** Others than those judged by. */
const RANGED = { seed: 9, pictures: 32 };
const CAPTIONS = 24;
/** A caption needs a surface, not its pixels. */
const CAPTION_SIDE = 32;

export function judgingInputs(pictures: number) {
  return {
    words: BASE_WORDS,
    texts: captions(),
    drawJudged: (preprocess: Preprocess) => draw(preprocess, SEED, pictures),
    drawRanged: (preprocess: Preprocess) => draw(preprocess, RANGED.seed, RANGED.pictures),
  };
}

/** Surfaces with damage; of a product made wrongly (a bead too thin, a part too few) a patch alone shows nothing. */
const SURFACES = MATERIALS.filter(({ flaws }) => flaws.length === 0);

async function draw(preprocess: Preprocess, seed: number, count: number): Promise<Judged[]> {
  const random = createRandom(seed);
  const side = preprocess.tilePx;
  const judged: Judged[] = [];
  for (let i = 0; i < count; i++) {
    const { planes, mask, defect } = drawSurface(random, side, { bad: i % 2 === 1, material: random.pick(SURFACES) });
    const data = new Uint8Array(side * side * 3);
    for (const [c, plane] of planes.rgb.entries()) for (const [at, value] of plane.entries()) data[at * 3 + c] = Math.round(value * 255);
    const { pixelValues } = await tileFrame({ width: side, height: side, data }, preprocess);
    judged.push({ pixels: pixelValues, mask, bad: defect !== null });
  }
  return judged;
}

function captions(): string[] {
  const random = createRandom(SEED);
  const next = surfaceStream(SEED, CAPTION_SIDE);
  return [...BASE_WORDS.good, ...BASE_WORDS.bad, ...Array.from({ length: CAPTIONS }, () => captionOf(next(), random).text)];
}
