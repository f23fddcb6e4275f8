/**
 * Local defects painted into a surface, each with the mask of what it touched.
 * In: RGB planes [3, side²] in [0, 1] and a random stream. Out: the changed planes and a mask in [0, 1].
 * A defect that changed nothing visible is none: the caller asks `isVisible` before it says "bad".
 */
import type { Random } from "@kenpin/stats";
import { blur, type Field, fieldOf, latticeNoise, standardise, whiteNoise } from "./field.ts";

export type Planes = { side: number; rgb: [Field, Field, Field] };
export type Defect = {
  name: string;
  words: string[];
  paint: (planes: Planes, mask: Field, random: Random, other: Planes) => Planes;
  shape: Shape;
};
type Shape = (side: number, random: Random) => Field;

export const DEFECTS: Defect[] = [
  { name: "scratch", words: ["a scratch", "a scratched line"], shape: line, paint: tone },
  { name: "hole", words: ["a hole", "a pit"], shape: blob, paint: dark },
  { name: "stain", words: ["a stain", "dirt", "a discoloured spot"], shape: softBlob, paint: tint },
  { name: "local noise", words: ["a noisy spot", "a rough spot"], shape: blob, paint: noise },
  { name: "smear", words: ["a smear", "a blurred spot"], shape: blob, paint: smear },
  { name: "changed texture", words: ["a spot of a different texture", "a changed weave"], shape: blob, paint: replace },
  { name: "shuffled", words: ["a damaged spot", "a torn spot"], shape: blob, paint: shuffled },
  { name: "contamination", words: ["a foreign fibre", "contamination"], shape: curve, paint: tone },
  { name: "dent", words: ["a dent", "a bump"], shape: softBlob, paint: dent },
];

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

/** Whether the change stands out: its mean size within the mask against the surface's own deviation. */
export function isVisible(before: Planes, after: Planes, mask: Field): boolean {
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
  return weight > 12 && change / weight > Math.max(0.02, 0.35 * deviation);
}

function greyAt({ rgb: [r, g, b] }: Planes, i: number): number {
  return ((r[i] as number) + (g[i] as number) + (b[i] as number)) / 3;
}

/** An ellipse with a ragged or a clean edge, or a rectangle; 6 to 26 pixels across. */
function blob(side: number, random: Random): Field {
  const [cx, cy] = [random.between(4, side - 4), random.between(4, side - 4)];
  const [rx, ry, angle] = [random.between(3, 13), random.between(3, 13), random.next() * Math.PI];
  const rag = random.next() < 0.5 ? latticeNoise(side, { cellX: 5, cellY: 5 }, random) : null;
  const power = random.next() < 0.3 ? 8 : 2;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => {
    const u = Math.abs(((x - cx) * cos + (y - cy) * sin) / rx);
    const v = Math.abs(((y - cy) * cos - (x - cx) * sin) / ry);
    const away = u ** power + v ** power + 0.4 * (rag ? (rag[y * side + x] as number) : 0);
    return clamp((1.15 - away) * 3);
  });
}

function softBlob(side: number, random: Random): Field {
  const [cx, cy, radius] = [random.between(0, side), random.between(0, side), random.between(4, 14)];
  const rag = latticeNoise(side, { cellX: 8, cellY: 8 }, random);
  return fieldOf(side, (x, y) =>
    clamp(1.4 * Math.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius * radius))) + 0.1 * (rag[y * side + x] as number) - 0.25),
  );
}

function line(side: number, random: Random): Field {
  const [x0, y0, angle, length] = [random.between(0, side), random.between(0, side), random.next() * Math.PI, random.between(10, side)];
  const width = random.between(0.5, 1.8);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => {
    const along = (x - x0) * cos + (y - y0) * sin;
    const across = Math.abs((y - y0) * cos - (x - x0) * sin);
    return Math.abs(along) < length / 2 ? clamp(width + 0.5 - across) : 0;
  });
}

function curve(side: number, random: Random): Field {
  const out = new Float32Array(side * side);
  let [x, y, angle] = [random.between(0, side), random.between(0, side), random.next() * 2 * Math.PI];
  const [bend, width] = [random.between(-0.12, 0.12), random.between(0.6, 1.6)];
  for (let step = random.between(15, 60); step > 0; step--) {
    angle += bend + random.between(-0.15, 0.15);
    x += Math.cos(angle);
    y += Math.sin(angle);
    for (let j = Math.max(0, Math.floor(y - 2)); j <= Math.min(side - 1, Math.ceil(y + 2)); j++) {
      for (let i = Math.max(0, Math.floor(x - 2)); i <= Math.min(side - 1, Math.ceil(x + 2)); i++) {
        const at = j * side + i;
        out[at] = Math.max(out[at] as number, clamp(width + 0.5 - Math.hypot(i - x, j - y)));
      }
    }
  }
  return out;
}

function tone(planes: Planes, _mask: Field, random: Random): Planes {
  const level = random.next() < 0.5 ? random.between(0, 0.35) : random.between(0.65, 1);
  return each(planes, (plane) => plane.map((value) => value * 0.3 + level * 0.7));
}

function dark(planes: Planes, _mask: Field, random: Random): Planes {
  const depth = random.between(0.1, 0.5);
  return each(planes, (plane) => plane.map((value) => value * depth));
}

function tint(planes: Planes, _mask: Field, random: Random): Planes {
  const factors = [random.between(0.4, 1.3), random.between(0.4, 1.2), random.between(0.3, 1.1)];
  return each(planes, (plane, c) => plane.map((value) => clamp(value * (factors[c] as number))));
}

function noise(planes: Planes, _mask: Field, random: Random): Planes {
  const grain = random.next() < 0.5 ? whiteNoise(planes.side, random) : latticeNoise(planes.side, { cellX: 2, cellY: 2 }, random);
  const strength = random.between(0.06, 0.3);
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
