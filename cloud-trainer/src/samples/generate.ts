/**
 * An endless stream of captioned surfaces: a material under a light, sometimes with a defect, always with its mask.
 * Seeded: the same seed gives the same pictures. Good pictures carry what confuses a detector too: glints, gradients,
 * shading, lens blur, sensor noise. About half are defective.
 */
import { createRandom, type Random } from "@kenpin/stats";
import { type Defect, isVisible, paintDefect, type Planes } from "./defect.ts";
import { blur, type Field, fieldOf, latticeNoise, whiteNoise } from "./field.ts";
import { MATERIALS, type Material } from "./surface.ts";

export type Surface = {
  planes: Planes;
  /** Share of defect at each pixel, in [0, 1]; all zero for a good surface. */
  mask: Field;
  material: Material;
  defect: Defect | null;
};

const BAD_RATIO = 0.55;

export function surfaceStream(seed: number, side: number): () => Surface {
  const random = createRandom(seed);
  return () => drawSurface(random, side);
}

export function drawSurface(random: Random, side: number, options: { bad?: boolean; material?: Material; look?: Look } = {}): Surface {
  const material = options.material ?? random.pick(MATERIALS);
  const look = options.look ?? drawLook(random);
  const relief = material.create(random);
  const good = shade(relief(side, random), look, side);
  const mask = new Float32Array(side * side);
  const wanted = options.bad ?? random.next() < BAD_RATIO;
  if (!wanted) return { planes: expose(good, random), mask, material, defect: null };
  const stranger = random.pick(MATERIALS).create(random);
  const other = shade(stranger(side, random), look, side);
  const { planes, mask: painted, defect } = paintDefect(good, random, other);
  if (!isVisible(good, planes, painted)) return { planes: expose(good, random), mask, material, defect: null };
  return { planes: expose(planes, random), mask: painted, material, defect };
}

/** Captions at several levels of detail; `truths` lists everything the caption claims, for telling true pairs from false. */
export type Caption = { text: string; material: string | null; state: "good" | "bad" | null; defect: string | null };

const GOOD_WORDS = ["flawless", "perfect", "even"];
const GOOD_ENDS = ["without defects", "in good condition"];
const BAD_ENDS = ["with a defect", "with damage", "with a flaw"];
const BAD_WORDS = ["damaged", "defective", "flawed"];
const OPENINGS = ["a photo of", "a close-up of", ""];
const ANYTHING = ["a surface", "a part", "material"];

export function captionOf({ material, defect }: Pick<Surface, "material" | "defect">, random: Random): Caption {
  const named = random.next() < 0.65;
  const noun = named ? random.pick(material.words) : random.pick(ANYTHING);
  const what = { material: named ? material.name : null };
  const say = (body: string) => `${random.pick(OPENINGS)} ${body}`.trim();
  if (named && random.next() < 0.1) return { ...what, text: say(noun), state: null, defect: null };
  if (!defect) {
    const text = random.next() < 0.5 ? say(`${random.pick(GOOD_WORDS)} ${bare(noun)}`) : say(`${noun} ${random.pick(GOOD_ENDS)}`);
    return { ...what, text, state: "good", defect: null };
  }
  if (random.next() < 0.5) return { ...what, text: say(`${noun} with ${random.pick(defect.words)}`), state: "bad", defect: defect.name };
  const text = random.next() < 0.5 ? say(`${random.pick(BAD_WORDS)} ${bare(noun)}`) : say(`${noun} ${random.pick(BAD_ENDS)}`);
  return { ...what, text, state: "bad", defect: null };
}

/** Whether the caption is true of the surface, however it was made: such a pair is no negative. */
export function isTrueOf(caption: Caption, { material, defect }: Pick<Surface, "material" | "defect">): boolean {
  if (caption.material !== null && caption.material !== material.name) return false;
  if (caption.state !== null && caption.state !== (defect ? "bad" : "good")) return false;
  return caption.defect === null || caption.defect === defect?.name;
}

function bare(noun: string): string {
  return noun.replace(/^an? /, "");
}

/** Colour and contrast of a surface under one light. */
export type Look = { base: [number, number, number]; contrast: number };

export function drawLook(random: Random): Look {
  const brightness = random.between(0.25, 0.75);
  const colour = random.next() < 0.5 ? 0 : 0.18;
  const base = [0, 1, 2].map(() => brightness + random.between(-colour, colour)) as [number, number, number];
  return { base, contrast: random.between(0.03, 0.2) };
}

function shade(relief: Field, { base, contrast }: Look, side: number): Planes {
  const rgb = base.map((level) => relief.map((value) => Math.min(1, Math.max(0, level + contrast * value))));
  return { side, rgb: rgb as [Field, Field, Field] };
}

/** Light, lens and sensor, over good and bad alike. */
function expose({ side, rgb }: Planes, random: Random): Planes {
  const light = latticeNoise(side, { cellX: side * 1.5, cellY: side * 1.5 }, random);
  const strength = random.between(0, 0.12);
  const glint = random.next() < 0.15 ? glintAt(side, random) : null;
  const lens = random.next() < 0.3 ? 1 : 0;
  const grain = whiteNoise(side, random);
  const noise = random.next() < 0.5 ? random.between(0, 0.025) : 0;
  const planes = rgb.map((plane) => {
    const seen = lens > 0 ? blur(plane, side, lens, 1) : plane;
    return seen.map((value, i) => {
      const lit = value * (1 + strength * (light[i] as number)) + (glint ? (glint[i] as number) : 0) + noise * (grain[i] as number);
      return Math.min(1, Math.max(0, lit));
    });
  });
  return { side, rgb: planes as [Field, Field, Field] };
}

function glintAt(side: number, random: Random): Field {
  const [cx, cy, radius, level] = [
    random.between(0, side),
    random.between(0, side),
    random.between(side / 5, side / 1.5),
    random.between(0.05, 0.25),
  ];
  return fieldOf(side, (x, y) => level * Math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius * radius)));
}
