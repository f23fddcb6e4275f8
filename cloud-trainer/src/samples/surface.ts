/**
 * Generated surfaces: a material's relief as one standardised field, with its own random constants.
 * Each family is described in words an engineer would use. `lookAlikeOf` marks a family that resembles a real set kept
 * for measuring, so that results can be given with it left out. No constant here was fitted to a real picture.
 */
import type { Random } from "@kenpin/stats";
import { blur, type Field, fieldOf, latticeNoise, mix, standardise, whiteNoise } from "./field.ts";

export type Material = {
  name: string;
  words: string[];
  lookAlikeOf?: string;
  /** Draws the constants once; the function it returns makes fields of that same material. */
  create: (random: Random) => (side: number, random: Random) => Field;
};

export const MATERIALS: Material[] = [
  { name: "woven", words: ["woven fabric", "cloth", "textile"], create: woven },
  { name: "knitted", words: ["knitted fabric", "knitwear"], create: knitted },
  { name: "brushed", words: ["brushed metal", "brushed steel"], create: brushed },
  { name: "cast", words: ["cast metal", "a casting"], create: cast },
  { name: "granular", words: ["a granular surface", "grains"], create: granular },
  { name: "random field", words: ["a textured surface", "a rough surface"], lookAlikeOf: "textile", create: randomField },
  { name: "wood", words: ["wood", "a wooden board"], create: wood },
  { name: "printed", words: ["printed paper", "a print"], create: printed },
  { name: "machined", words: ["machined metal", "a milled surface"], create: machined },
  { name: "painted", words: ["a painted surface", "paint"], create: painted },
];

function woven(random: Random) {
  const [warp, weft, angle] = [random.between(3, 12), random.between(3, 12), random.between(-0.3, 0.3)];
  const [twist, fuzz, wander] = [random.between(0, 0.5), random.between(0.1, 0.6), random.between(0.1, 0.8)];
  return (side: number, stream: Random) => {
    const drift = latticeNoise(side, { cellX: 20, cellY: 20 }, stream);
    const phase = stream.next() * 100;
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const relief = fieldOf(side, (x, y) => {
      const bend = (drift[y * side + x] as number) * wander;
      const u = ((x * cos + y * sin + phase + bend) / warp) * Math.PI;
      const v = ((y * cos - x * sin + phase + bend) / weft) * Math.PI;
      const over = Math.sin(u) * Math.sin(v) > 0 ? 1 : -1;
      return Math.abs(Math.sin(u)) * (1 + over) + Math.abs(Math.sin(v)) * (1 - over) + twist * Math.sin(u * 3 + v * 3);
    });
    return standardise(mix(standardise(relief), whiteNoise(side, stream), fuzz * 0.5));
  };
}

function knitted(random: Random) {
  const [column, row, slope] = [random.between(6, 14), random.between(4, 10), random.between(0.5, 1.5)];
  const fuzz = random.between(0.05, 0.35);
  return (side: number, stream: Random) => {
    const phase = stream.next() * 100;
    const relief = fieldOf(side, (x, y) => {
      const inColumn = Math.abs((((x + phase) / column) % 1) - 0.5) * 2;
      return Math.sin(((y + phase + slope * inColumn * row) / row) * 2 * Math.PI) + 0.5 * Math.cos(inColumn * Math.PI);
    });
    return standardise(mix(standardise(relief), blur(whiteNoise(side, stream), side, 1, 1), fuzz));
  };
}

function brushed(random: Random) {
  const [length, width, angle] = [random.between(25, 80), random.between(1, 2.5), random.next() * Math.PI];
  return (side: number, stream: Random) =>
    standardise(
      mix(latticeNoise(side, { cellX: length, cellY: width, angle }, stream), whiteNoise(side, stream), random.between(0.05, 0.2)),
    );
}

function cast(random: Random) {
  const [coarse, fine, grain] = [random.between(6, 20), random.between(2, 4), random.between(0.2, 0.6)];
  return (side: number, stream: Random) =>
    standardise(
      mix(latticeNoise(side, { cellX: coarse, cellY: coarse }, stream), latticeNoise(side, { cellX: fine, cellY: fine }, stream), grain),
    );
}

function granular(random: Random) {
  const cell = random.between(4, 14);
  const edge = random.next() < 0.5;
  return (side: number, stream: Random) => {
    const cells = Math.ceil(side / cell) + 2;
    const seeds = Array.from({ length: cells * cells }, (_, i) => ({
      x: ((i % cells) - 1 + stream.next()) * cell,
      y: (Math.floor(i / cells) - 1 + stream.next()) * cell,
      tone: stream.normal(),
    }));
    return standardise(
      fieldOf(side, (x, y) => {
        let [first, second, tone] = [1e9, 1e9, 0];
        const [cx, cy] = [Math.floor(x / cell) + 1, Math.floor(y / cell) + 1];
        for (let j = Math.max(0, cy - 1); j <= Math.min(cells - 1, cy + 1); j++) {
          for (let i = Math.max(0, cx - 1); i <= Math.min(cells - 1, cx + 1); i++) {
            const seed = seeds[j * cells + i] as { x: number; y: number; tone: number };
            const away = (seed.x - x) ** 2 + (seed.y - y) ** 2;
            if (away < first) [first, second, tone] = [away, first, seed.tone];
            else if (away < second) second = away;
          }
        }
        return edge ? Math.min(1.5, Math.sqrt(second) - Math.sqrt(first)) + tone * 0.2 : tone;
      }),
    );
  };
}

/** Noise with a random spectrum: white noise blurred at three random scales. */
function randomField(random: Random) {
  const weights = [random.next(), random.next(), random.next(), random.next() * 0.7];
  const radii = [1, random.int(2) + 2, random.int(4) + 4];
  const stretch =
    random.next() < 0.4 ? { cellX: random.between(2, 12), cellY: random.between(1.5, 3), angle: random.next() * Math.PI } : null;
  return (side: number, stream: Random) => {
    let sum = whiteNoise(side, stream).map((value) => value * (weights[3] as number));
    for (const [i, radius] of radii.entries()) {
      const part = standardise(blur(whiteNoise(side, stream), side, radius, 1));
      sum = sum.map((value, p) => value + (weights[i] as number) * (part[p] as number));
    }
    if (stretch) sum = mix(standardise(sum), latticeNoise(side, stretch, stream), 0.5);
    return standardise(sum);
  };
}

function wood(random: Random) {
  const [ring, angle, knot] = [random.between(5, 16), random.next() * Math.PI, random.between(0.5, 3)];
  return (side: number, stream: Random) => {
    const warp = latticeNoise(side, { cellX: 60, cellY: 18, angle }, stream);
    const fibre = latticeNoise(side, { cellX: 30, cellY: 1.5, angle }, stream);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const relief = fieldOf(side, (x, y) => Math.sin(((y * cos - x * sin) / ring + knot * (warp[y * side + x] as number)) * 2 * Math.PI));
    return standardise(mix(standardise(relief), fibre, 0.35));
  };
}

function printed(random: Random) {
  const [pitch, angle, ink] = [random.between(3, 9), random.next() * Math.PI, random.between(-0.6, 0.6)];
  return (side: number, stream: Random) => {
    const tone = latticeNoise(side, { cellX: 40, cellY: 40 }, stream);
    const phase = stream.next() * 50;
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const dots = fieldOf(side, (x, y) => {
      const u = Math.cos(((x * cos + y * sin + phase) / pitch) * 2 * Math.PI);
      const v = Math.cos(((y * cos - x * sin + phase) / pitch) * 2 * Math.PI);
      return Math.tanh(4 * (u + v + ink + 0.4 * (tone[y * side + x] as number)));
    });
    return standardise(mix(dots, whiteNoise(side, stream), 0.1));
  };
}

function machined(random: Random) {
  const [pitch, radius, wobble] = [random.between(2.5, 8), random.between(60, 400), random.between(0, 0.4)];
  const towards = random.next() * 2 * Math.PI;
  return (side: number, stream: Random) => {
    const noise = latticeNoise(side, { cellX: 15, cellY: 15 }, stream);
    const phase = stream.next() * pitch;
    const relief = fieldOf(side, (x, y) => {
      const away = Math.hypot(x - side / 2 - radius * Math.cos(towards), y - side / 2 - radius * Math.sin(towards));
      return Math.sin(((away + phase) / pitch + wobble * (noise[y * side + x] as number)) * 2 * Math.PI);
    });
    return standardise(mix(relief, whiteNoise(side, stream), 0.2));
  };
}

function painted(random: Random) {
  const [peel, grain] = [random.between(4, 12), random.between(0.1, 0.7)];
  return (side: number, stream: Random) =>
    standardise(mix(latticeNoise(side, { cellX: peel, cellY: peel }, stream), whiteNoise(side, stream), grain));
}
