/** Fabrics: periodic reliefs of threads and loops, each with a wander and a fuzz of its own. */
import type { Random } from "@kenpin/stats";
import { blur, fieldOf, latticeNoise, mix, standardise, whiteNoise } from "../field.ts";
import { material } from "./material.ts";

export const woven = material({
  name: "woven",
  words: ["woven fabric", "cloth", "textile"],
  lookAlikeOf: "textile",
  draw: (random) => ({
    warp: random.between(2.5, 12),
    weft: random.between(2.5, 12),
    angle: random.between(-0.3, 0.3),
    twill: random.next() < 0.3 ? 1 : 0,
    twist: random.between(0, 0.5),
    fuzz: random.between(0.1, 0.6),
    wander: random.between(0.1, 0.8),
  }),
  render: ({ warp, weft, angle, twill, twist, fuzz, wander }, side, random) => {
    const drift = latticeNoise(side, { cellX: 20, cellY: 20 }, random);
    const phase = random.next() * 100;
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const threads = fieldOf(side, (x, y) => {
      const bend = (drift[y * side + x] as number) * wander;
      const u = ((x * cos + y * sin + phase + bend) / warp) * Math.PI;
      const v = ((y * cos - x * sin + phase + bend) / weft) * Math.PI;
      const over = (twill ? Math.sin(u + v) : Math.sin(u) * Math.sin(v)) > 0 ? 1 : -1;
      return Math.abs(Math.sin(u)) * (1 + over) + Math.abs(Math.sin(v)) * (1 - over) + twist * Math.sin(u * 3 + v * 3);
    });
    return { height: standardise(mix(standardise(threads), whiteNoise(side, random), fuzz * 0.5)), coat: null };
  },
});

export const knitted = material({
  name: "knitted",
  words: ["knitted fabric", "knitwear"],
  draw: (random) => ({
    column: random.between(6, 14),
    row: random.between(4, 10),
    slope: random.between(0.5, 1.5),
    fuzz: random.between(0.05, 0.35),
  }),
  render: ({ column, row, slope, fuzz }, side, random) => {
    const phase = random.next() * 100;
    const loops = fieldOf(side, (x, y) => {
      const inColumn = Math.abs((((x + phase) / column) % 1) - 0.5) * 2;
      return Math.sin(((y + phase + slope * inColumn * row) / row) * 2 * Math.PI) + 0.5 * Math.cos(inColumn * Math.PI);
    });
    return { height: standardise(mix(standardise(loops), blur(whiteNoise(side, random), side, 1, 1), fuzz)), coat: null };
  },
});

/** Noise of a spectrum of its own: white noise blurred at four scales, added and taken off, some of it drawn out one way. */
export const randomField = material({
  name: "random field",
  words: ["a textured surface", "a rough surface"],
  lookAlikeOf: "textile",
  draw: (random: Random) => ({
    weights: [random.next() * 0.7, random.next(), random.between(-0.5, 1), random.between(-0.5, 1)] as const,
    radii: [1, random.int(2) + 2, random.int(4) + 4] as const,
    stretch: random.next() < 0.4 ? random.between(0.3, 0.7) : 0,
    cellX: random.between(2, 12),
    cellY: random.between(1.5, 3),
    angle: random.next() * Math.PI,
  }),
  render: ({ weights, radii, stretch, cellX, cellY, angle }, side, random) => {
    let sum = whiteNoise(side, random).map((value) => value * weights[0]);
    for (const [i, radius] of radii.entries()) {
      const part = standardise(blur(whiteNoise(side, random), side, radius, 1));
      const weight = weights[i + 1] as number;
      sum = sum.map((value, p) => value + weight * (part[p] as number));
    }
    if (stretch > 0) sum = mix(standardise(sum), latticeNoise(side, { cellX, cellY, angle }, random), stretch);
    return { height: standardise(sum), coat: null };
  },
});
