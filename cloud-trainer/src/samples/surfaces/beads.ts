/** Extruded beads side by side, or one alone: round in section, with little waviness. Made wrongly there is too much or too little of it. */
import type { Random } from "@kenpin/stats";
import { type Field, fieldOf, latticeNoise, smooth } from "../field.ts";
import { material } from "./material.ts";

type Beads = {
  pitch: number;
  angle: number;
  fill: number;
  round: number;
  wobble: number;
  wave: number;
  gaps: number;
  alone: boolean;
  layers: number;
  offset: number;
};

export const beads = material<Beads>({
  name: "beads",
  words: ["extruded beads", "an extruded line", "a printed layer"],
  lookAlikeOf: "extrusion",
  draw: (random) => ({
    pitch: random.between(7, 34),
    angle: random.next() * Math.PI,
    fill: random.between(0.98, 1.06),
    round: random.between(0.5, 2),
    wobble: random.between(0, 0.02),
    wave: random.between(10, 30),
    gaps: -9,
    alone: random.next() < 0.25,
    layers: random.between(0.05, 0.35),
    offset: 0,
  }),
  pose: (beads, random) => ({ ...beads, offset: random.next() * beads.pitch, angle: beads.angle + random.between(-0.05, 0.05) }),
  render: ({ pitch, angle, fill, round, wobble, wave, gaps, alone, layers, offset }, side, random) => {
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const swell = latticeNoise(side, { cellX: wave, cellY: pitch, angle }, random);
    const breaks = latticeNoise(side, { cellX: wave * 1.5, cellY: pitch, angle }, random);
    const lines = latticeNoise(side, { cellX: 40, cellY: 1.5, angle }, random);
    const coat = new Float32Array(side * side);
    const height = fieldOf(side, (x, y) => {
      const i = y * side + x;
      const v = ((y - side / 2) * cos - (x - side / 2) * sin + offset) / pitch + 0.5;
      const across = alone ? v - 0.5 : v - Math.floor(v) - 0.5;
      const width = fill + 3 * wobble * (swell[i] as number);
      const t = Math.abs(across) / Math.max(0.05, width / 2);
      const broken = smooth(6 * (gaps - (breaks[i] as number)));
      const covered = smooth((pitch * width * (1 - t)) / 2) * (1 - broken);
      coat[i] = 1 - covered;
      return covered * (2.4 * Math.max(0, 1 - t * t) ** (round / 2) - 1.4 + layers * (lines[i] as number)) - (1 - covered) * 1.6;
    });
    return { height, coat };
  },
  flaws: [
    {
      name: "under-fill",
      words: ["under-extrusion", "gaps between beads", "too little material"],
      adjectives: ["under-extruded", "underfilled"],
      spoil: (beads, side, random) => ({
        constants: {
          ...beads,
          fill: beads.fill * random.between(0.5, 0.85),
          wobble: random.between(0.03, 0.12),
          gaps: random.next() < 0.5 ? random.between(-1.2, -0.2) : -9,
        },
        mask: stretchOf(beads, side, random),
      }),
    },
    {
      name: "over-fill",
      words: ["over-extrusion", "too much material", "bulging beads"],
      adjectives: ["over-extruded", "overfilled"],
      spoil: (beads, side, random) => ({
        constants: {
          ...beads,
          fill: beads.fill * random.between(1.12, 1.5),
          wobble: random.between(0.06, 0.2),
          wave: random.between(6, 16),
          round: beads.round * 0.5,
          layers: beads.layers + 0.3,
        },
        mask: stretchOf(beads, side, random),
      }),
    },
  ],
});

/** The whole picture, or a stretch along the beads. */
function stretchOf({ angle }: Beads, side: number, random: Random): Field {
  const [whole, at, length] = [random.next() < 0.5, random.between(-0.4, 0.4) * side, random.between(16, 50)];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return fieldOf(side, (x, y) => (whole ? 1 : smooth((length / 2 - Math.abs((x - side / 2) * cos + (y - side / 2) * sin - at)) / 2)));
}
