/**
 * Grains: cells of a Voronoi diagram with a tone each. A grain map may be made wrongly: a band or patches of another grain size, or
 * one crystal that grew over the others.
 */
import type { Random } from "@kenpin/stats";
import { type Field, fieldOf, latticeNoise, smooth, standardise, voronoi } from "../field.ts";
import { material } from "./material.ts";

export const granular = material({
  name: "granular",
  words: ["a granular surface", "grains"],
  draw: (random) => ({ cell: random.between(4, 14), edge: random.next() < 0.5 }),
  render: ({ cell, edge }, side, random) => {
    const { gap, tone } = voronoi(side, { cellX: cell, cellY: cell }, random);
    return { height: standardise(edge ? gap.map((value, i) => Math.min(1.5, value) + (tone[i] as number) * 0.2) : tone), coat: null };
  },
});

type Grains = { cellX: number; cellY: number; edge: number; tinted: number; grown: boolean };

export const grainMap = material<Grains>({
  name: "grain map",
  words: ["a grain structure", "polished metal grains", "a microstructure"],
  lookAlikeOf: "microstructure",
  draw: (random) => {
    const cell = 4 * 7 ** random.next();
    const aspect = random.between(0.75, 1.33);
    const tinted = random.next() < 0.5 ? 1 : 0;
    return { cellX: cell * aspect, cellY: cell / aspect, edge: random.next() < 0.5 ? random.between(0.3, 1.5) : 0, tinted, grown: false };
  },
  render: ({ cellX, cellY, edge, tinted, grown }, side, random) => {
    const { gap, tone } = voronoi(side, grown ? { cellX: 4 * side, cellY: 4 * side } : { cellX, cellY }, random);
    const height = tone.map((value, i) => value - edge * Math.exp(-(gap[i] as number)));
    const coat = tone.map((value) => (tinted ? 0.5 + 0.5 * Math.tanh(1.5 * value) : 0));
    return { height: grown ? height : standardise(height), coat };
  },
  flaws: [
    {
      name: "grain band",
      words: ["a band of a different grain size", "a grain band"],
      adjectives: ["banded"],
      spoil: (grains, side, random) => ({ constants: resized(grains, random), mask: band(side, random) }),
    },
    {
      name: "mixed grain",
      words: ["mixed grain sizes", "uneven grain"],
      adjectives: [],
      spoil: (grains, side, random) => ({ constants: resized(grains, random), mask: patches(side, random) }),
    },
    {
      name: "large crystal",
      words: ["a large crystal", "an overgrown grain"],
      adjectives: [],
      spoil: (grains, side, random) => ({ constants: { ...grains, grown: true }, mask: crystal(side, random) }),
    },
  ],
});

/** Finer or coarser by at least a half. */
function resized(grains: Grains, random: Random): Grains {
  const factor = random.between(1.6, 3.5) ** (random.next() < 0.5 ? 1 : -1);
  return { ...grains, cellX: Math.max(2.5, grains.cellX * factor), cellY: Math.max(2.5, grains.cellY * factor) };
}

function band(side: number, random: Random): Field {
  const [angle, width, at] = [random.next() * Math.PI, random.between(8, 40), random.between(0.1, 0.9) * side];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => smooth(width / 2 - Math.abs((x - at) * cos + (y - at) * sin)));
}

function patches(side: number, random: Random): Field {
  const [cell, cut] = [random.between(12, 30), random.between(-0.3, 0.5)];
  return latticeNoise(side, { cellX: cell, cellY: cell }, random).map((value) => smooth(8 * (value - cut)));
}

function crystal(side: number, random: Random): Field {
  const [cx, cy, radius] = [random.between(0, side), random.between(0, side), random.between(12, 45)];
  const edge = latticeNoise(side, { cellX: 14, cellY: 14 }, random);
  return fieldOf(side, (x, y) => smooth(radius * (1 + 0.25 * (edge[y * side + x] as number)) - Math.hypot(x - cx, y - cy)));
}
