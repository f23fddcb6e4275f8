/**
 * From a relief to a picture: colours under one light, then light, lens, sensor and a camera's compression, over good and bad alike.
 * Everything here befalls good pictures too, so that a glint, a shadow or a block of a JPEG is no defect.
 */
import type { Random } from "@kenpin/stats";
import { compress } from "./compress.ts";
import type { Planes } from "./defect.ts";
import { blur, type Field, fieldOf, latticeNoise, smooth, whiteNoise } from "./field.ts";
import type { Relief } from "./surface.ts";

/** Colour and contrast of a surface under one light; `second` is the colour of what covers the first. */
export type Look = { base: Colour; second: Colour; contrast: number };
type Colour = [number, number, number];

export function drawLook(random: Random): Look {
  const brightness = random.between(0.25, 0.75);
  const colour = random.next() < 0.5 ? 0 : 0.18;
  const base = tinted(brightness, colour, random);
  const apart = random.between(0.15, 0.5) * (brightness > 0.5 ? -1 : 1);
  return { base, second: tinted(brightness + apart, random.next() < 0.5 ? 0 : 0.2, random), contrast: random.between(0.03, 0.2) };
}

function tinted(brightness: number, colour: number, random: Random): Colour {
  return [0, 1, 2].map(() => brightness + random.between(-colour, colour)) as Colour;
}

/** The same light on another day: a little brighter or darker, the background more so than the part. */
export function again({ base, second, contrast }: Look, random: Random): Look {
  const moved = (colour: Colour, by: number) => colour.map((level) => level + by) as Colour;
  const all = random.between(-0.03, 0.03);
  return {
    base: moved(base, all + random.between(-0.015, 0.015)),
    second: moved(second, all + random.between(-0.015, 0.015)),
    contrast: contrast * random.between(0.9, 1.1),
  };
}

export function shade({ height, coat }: Relief, { base, second, contrast }: Look, side: number): Planes {
  const rgb = base.map((level, c) => {
    const rise = (second[c] as number) - level;
    return height.map((value, i) => clamp(level + (coat ? rise * (coat[i] as number) : 0) + contrast * value));
  });
  return { side, rgb: rgb as [Field, Field, Field] };
}

export function expose({ side, rgb }: Planes, random: Random): Planes {
  const light = latticeNoise(side, { cellX: side * 1.5, cellY: side * 1.5 }, random);
  const strength = random.between(0, 0.12);
  const glint = glintOf(side, random);
  const shadow = random.next() < 0.1 ? shadowOf(side, random) : null;
  const lens = random.next() < 0.3 ? 1 : 0;
  const grain = whiteNoise(side, random);
  const noise = random.next() < 0.5 ? random.between(0, 0.025) : 0;
  const planes = rgb.map((plane) => {
    const seen = lens > 0 ? blur(plane, side, lens, 1) : plane;
    return seen.map((value, i) => {
      const dimmed = shadow ? value * (shadow[i] as number) : value;
      return clamp(dimmed * (1 + strength * (light[i] as number)) + (glint ? (glint[i] as number) : 0) + noise * (grain[i] as number));
    });
  });
  const taken = { side, rgb: planes as [Field, Field, Field] };
  return random.next() < 0.15 ? compress(taken, random.between(0.3, 2)) : taken;
}

/** A wide one, or a small one of a shiny surface, drawn out one way. */
function glintOf(side: number, random: Random): Field | null {
  const kind = random.next();
  if (kind > 0.22) return null;
  const wide = kind < 0.14;
  const [cx, cy, angle] = [random.between(0, side), random.between(0, side), random.next() * Math.PI];
  const radius = wide ? random.between(16, 53) : random.between(3, 9);
  const [stretch, level] = [wide ? 1 : random.between(1, 5), random.between(0.05, 0.25)];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => {
    const u = ((x - cx) * cos + (y - cy) * sin) / stretch;
    const v = (y - cy) * cos - (x - cx) * sin;
    return level * Math.exp(-(u * u + v * v) / (2 * radius * radius));
  });
}

/** Something stands between the lamp and a part of the surface: one straight, soft edge. */
function shadowOf(side: number, random: Random): Field {
  const [at, angle, soft, depth] = [
    random.between(0.1, 0.9) * side,
    random.next() * 2 * Math.PI,
    random.between(6, 20),
    random.between(0.1, 0.35),
  ];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => 1 - depth * smooth(((x - at) * cos + (y - at) * sin) / soft));
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
