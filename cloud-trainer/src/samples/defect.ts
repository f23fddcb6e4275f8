/**
 * Local defects painted into a surface, each with the mask of what it touched.
 * In: RGB planes [3, side²] in [0, 1] and a random stream. Out: the changed planes and a mask in [0, 1].
 * A defect that changed nothing visible is none: the caller asks `isVisible` before it says "bad".
 */
import type { Random } from "@kenpin/stats";
import { blob, curve, jagged, line, mottled, rim, type Shape, softBlob, speck, stripe } from "./defect-shape.ts";
import { blur, type Field, fieldOf, latticeNoise, standardise, whiteNoise } from "./field.ts";
import type { Flaw } from "./surface.ts";

export type Planes = { side: number; rgb: [Field, Field, Field] };
export type Defect = Flaw & { paint: (planes: Planes, mask: Field, random: Random, other: Planes) => Planes; shape: Shape };

export const DEFECTS: readonly Defect[] = [
  { ...said("scratch", ["a scratch", "a scratched line"], ["scratched"]), shape: line, paint: tone },
  { ...said("hole", ["a hole", "a pit", "a pinhole"], ["pitted"]), shape: blob, paint: dark },
  { ...said("stain", ["a stain", "dirt", "a discoloured spot"], ["stained", "dirty"]), shape: softBlob, paint: tint },
  { ...said("local noise", ["a noisy spot", "a rough spot"], []), shape: blob, paint: noise },
  { ...said("smear", ["a smear", "a blurred spot"], ["smeared"]), shape: blob, paint: smear },
  { ...said("changed texture", ["a spot of a different texture", "a changed weave"], []), shape: blob, paint: replace },
  { ...said("shuffled", ["a damaged spot", "a torn spot"], ["torn"]), shape: blob, paint: shuffled },
  { ...said("contamination", ["a foreign fibre", "contamination", "a hair on it"], ["contaminated"]), shape: curve, paint: tone },
  { ...said("dent", ["a dent", "a bump"], ["dented"]), shape: softBlob, paint: dent },
  { ...said("crack", ["a crack", "a hairline crack"], ["cracked"]), shape: jagged, paint: crevice },
  { ...said("corrosion", ["corrosion", "rust"], ["corroded", "rusty"]), shape: mottled, paint: rust },
  { ...said("speck", ["a speck", "dust", "a small spot"], ["dusty"]), shape: speck, paint: tone },
  { ...said("worn spot", ["a worn spot", "a scuff mark"], ["worn", "scuffed"]), shape: softBlob, paint: wear },
  { ...said("streak", ["a streak", "uneven colour"], ["streaked"]), shape: stripe, paint: tint },
  { ...said("bubble", ["an air bubble", "a blister", "a crater"], ["blistered"]), shape: rim, paint: tone },
];

function said(name: string, words: string[], adjectives: string[]): Flaw {
  return { name, words, adjectives };
}

/** Paints `defect` (or a drawn one) and answers with the mask of pixels that really changed. */
export function paintDefect(planes: Planes, random: Random, other: Planes, defect: Defect = random.pick(DEFECTS)) {
  const shape = defect.shape(planes.side, random);
  const painted = defect.paint(planes, shape, random, other);
  const rgb = planes.rgb.map((plane, c) =>
    plane.map((value, i) => {
      const weight = shape[i] as number;
      return value * (1 - weight) + ((painted.rgb[c] as Field)[i] as number) * weight;
    }),
  ) as [Field, Field, Field];
  return { defect, planes: { side: planes.side, rgb }, mask: shape };
}

/** A change stands out by this much of the surface's own deviation. */
const PAINTED_CONTRAST = 0.35;
/** Whether the change stands out: its mean size within the mask against the surface's own deviation. */
export function isVisible(before: Planes, after: Planes, mask: Field, contrast = PAINTED_CONTRAST): boolean {
  let [change, weight, sum, squares] = [0, 0, 0, 0];
  for (let i = 0; i < mask.length; i++) {
    const m = mask[i] as number;
    const grey = greyAt(before, i);
    change += m * Math.abs(greyAt(after, i) - grey);
    weight += m;
    sum += grey;
    squares += grey * grey;
  }
  const mean = sum / mask.length;
  const deviation = Math.sqrt(Math.max(0, squares / mask.length - mean * mean));
  return weight > 12 && change / weight > Math.max(0.02, contrast * deviation);
}

function greyAt({ rgb: [r, g, b] }: Planes, i: number): number {
  return ((r[i] as number) + (g[i] as number) + (b[i] as number)) / 3;
}

function tone(planes: Planes, _mask: Field, random: Random): Planes {
  const level = random.next() < 0.5 ? random.between(0, 0.35) : random.between(0.65, 1);
  return each(planes, (plane) => plane.map((value) => value * 0.3 + level * 0.7));
}

function dark(planes: Planes, _mask: Field, random: Random): Planes {
  const depth = random.between(0.1, 0.5);
  return each(planes, (plane) => plane.map((value) => value * depth));
}

function crevice(planes: Planes, _mask: Field, random: Random): Planes {
  const depth = random.between(0.1, 0.6);
  return each(planes, (plane) => plane.map((value) => value * depth));
}

/** Brown, in two tones. */
function rust(planes: Planes, _mask: Field, random: Random): Planes {
  const grain = latticeNoise(planes.side, { cellX: 2.5, cellY: 2.5 }, random);
  const level = random.between(0.25, 0.5);
  const colour = [1, random.between(0.5, 0.75), random.between(0.2, 0.5)];
  return each(planes, (plane, c) =>
    plane.map((value, i) => clamp(0.3 * value + 0.7 * level * (colour[c] as number) * (1 + 0.3 * (grain[i] as number)))),
  );
}

/** Smoother than around it, and a little brighter or darker. */
function wear(planes: Planes, _mask: Field, random: Random): Planes {
  const [kept, shift] = [random.between(0.1, 0.6), random.between(-0.12, 0.12)];
  return each(planes, (plane) => {
    const flat = blur(plane, planes.side, 4, 1);
    return plane.map((value, i) => clamp((flat[i] as number) * (1 - kept) + value * kept + shift));
  });
}

function tint(planes: Planes, _mask: Field, random: Random): Planes {
  const factors = [random.between(0.4, 1.3), random.between(0.4, 1.2), random.between(0.3, 1.1)];
  return each(planes, (plane, c) => plane.map((value) => clamp(value * (factors[c] as number))));
}

function noise(planes: Planes, _mask: Field, random: Random): Planes {
  const grain = random.next() < 0.5 ? whiteNoise(planes.side, random) : latticeNoise(planes.side, { cellX: 2, cellY: 2 }, random);
  const strength = random.between(0.03, 0.3);
  return each(planes, (plane) => plane.map((value, i) => clamp(value + strength * (grain[i] as number))));
}

function smear(planes: Planes, _mask: Field, random: Random): Planes {
  const radius = 1 + random.int(4);
  return each(planes, (plane) => blur(plane, planes.side, radius, 1));
}

/** The same place of another surface, brought to this one's brightness, so that only the texture gives it away. */
function replace(planes: Planes, _mask: Field, _random: Random, other: Planes): Planes {
  return each(planes, (plane, c) => {
    const [mean, deviation] = moments(plane);
    return standardise(other.rgb[c] as Field).map((value) => clamp(mean + value * deviation));
  });
}

/** Pixels exchanged with near neighbours: the same histogram, the texture gone. */
function shuffled(planes: Planes, _mask: Field, random: Random): Planes {
  const { side } = planes;
  const reach = 1 + random.int(4);
  const from = Int32Array.from({ length: side * side }, (_, i) => {
    const x = Math.min(side - 1, Math.max(0, (i % side) + random.int(2 * reach + 1) - reach));
    const y = Math.min(side - 1, Math.max(0, Math.floor(i / side) + random.int(2 * reach + 1) - reach));
    return y * side + x;
  });
  return each(planes, (plane) => plane.map((_, i) => plane[from[i] as number] as number));
}

function dent(planes: Planes, mask: Field, random: Random): Planes {
  const angle = random.next() * 2 * Math.PI;
  const [dx, dy, depth] = [Math.round(2 * Math.cos(angle)), Math.round(2 * Math.sin(angle)), random.between(0.8, 2.5)];
  const { side } = planes;
  const height = blur(mask, side, 2, 1);
  const slope = fieldOf(side, (x, y) => {
    const at = (i: number, j: number) => height[Math.min(side - 1, Math.max(0, j)) * side + Math.min(side - 1, Math.max(0, i))] as number;
    return at(x + dx, y + dy) - at(x - dx, y - dy);
  });
  return each(planes, (plane) => plane.map((value, i) => clamp(value + depth * (slope[i] as number))));
}

function each(planes: Planes, change: (plane: Field, channel: number) => Field): Planes {
  return { side: planes.side, rgb: planes.rgb.map(change) as [Field, Field, Field] };
}

function moments(plane: Field): [mean: number, deviation: number] {
  let [sum, squares] = [0, 0];
  for (const value of plane) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / plane.length;
  return [mean, Math.sqrt(Math.max(0, squares / plane.length - mean * mean))];
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
