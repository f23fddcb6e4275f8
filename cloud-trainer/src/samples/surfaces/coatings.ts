/** Wood, print, paint, plastic, glass, ceramic and concrete: finishes and bulk materials that are neither metal nor fabric. */
import { fieldOf, latticeNoise, mix, standardise, whiteNoise } from "../field.ts";
import { material } from "./material.ts";

export const wood = material({
  name: "wood",
  words: ["wood", "a wooden board"],
  draw: (random) => ({ ring: random.between(5, 16), angle: random.next() * Math.PI, knot: random.between(0.5, 3) }),
  render: ({ ring, angle, knot }, side, random) => {
    const warp = latticeNoise(side, { cellX: 60, cellY: 18, angle }, random);
    const fibre = latticeNoise(side, { cellX: 30, cellY: 1.5, angle }, random);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const rings = fieldOf(side, (x, y) => Math.sin(((y * cos - x * sin) / ring + knot * (warp[y * side + x] as number)) * 2 * Math.PI));
    return { height: standardise(mix(standardise(rings), fibre, 0.35)), coat: null };
  },
});

export const printed = material({
  name: "printed",
  words: ["printed paper", "a print"],
  draw: (random) => ({ pitch: random.between(3, 9), angle: random.next() * Math.PI, ink: random.between(-0.6, 0.6) }),
  render: ({ pitch, angle, ink }, side, random) => {
    const tone = latticeNoise(side, { cellX: 40, cellY: 40 }, random);
    const phase = random.next() * 50;
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const dots = fieldOf(side, (x, y) => {
      const u = Math.cos(((x * cos + y * sin + phase) / pitch) * 2 * Math.PI);
      const v = Math.cos(((y * cos - x * sin + phase) / pitch) * 2 * Math.PI);
      return Math.tanh(4 * (u + v + ink + 0.4 * (tone[y * side + x] as number)));
    });
    return { height: standardise(mix(dots, whiteNoise(side, random), 0.1)), coat: null };
  },
});

export const painted = material({
  name: "painted",
  words: ["a painted surface", "paint"],
  draw: (random) => ({ peel: random.between(4, 12), grain: random.between(0.1, 0.7) }),
  render: ({ peel, grain }, side, random) => ({
    height: standardise(mix(latticeNoise(side, { cellX: peel, cellY: peel }, random), whiteNoise(side, random), grain)),
    coat: null,
  }),
});

/** The grain of a mould: valleys between smooth cells. */
export const moulded = material({
  name: "moulded",
  words: ["moulded plastic", "a plastic part"],
  draw: (random) => ({
    cell: random.between(3, 12),
    sharp: random.between(1, 5),
    grain: random.between(0, 0.3),
    depth: random.between(0.3, 1),
  }),
  render: ({ cell, sharp, grain, depth }, side, random) => {
    const cells = latticeNoise(side, { cellX: cell, cellY: cell }, random).map((value) => Math.tanh(sharp * Math.abs(value)));
    const height = standardise(mix(standardise(cells), whiteNoise(side, random), grain));
    return { height: height.map((value) => value * depth), coat: null };
  },
});

export const glass = material({
  name: "glass",
  words: ["glass", "a glass pane"],
  draw: (random) => ({
    cell: random.between(25, 70),
    streak: random.between(0, 0.5),
    angle: random.next() * Math.PI,
    depth: random.between(0.08, 0.35),
  }),
  render: ({ cell, streak, angle, depth }, side, random) => {
    const haze = latticeNoise(side, { cellX: cell, cellY: cell }, random);
    const height = standardise(mix(haze, latticeNoise(side, { cellX: 60, cellY: 6, angle }, random), streak));
    return { height: height.map((value) => value * depth), coat: null };
  },
});

export const ceramic = material({
  name: "ceramic",
  words: ["ceramic", "a ceramic tile"],
  draw: (random) => ({
    dot: random.between(1.5, 4),
    cut: random.between(0.9, 1.5),
    ground: random.between(0.1, 0.6),
    depth: random.between(0.3, 1),
  }),
  render: ({ dot, cut, ground, depth }, side, random) => {
    const dots = latticeNoise(side, { cellX: dot, cellY: dot }, random).map((value) => Math.tanh(6 * Math.max(0, value - cut)));
    const height = standardise(mix(standardise(dots), latticeNoise(side, { cellX: 30, cellY: 30 }, random), ground));
    return { height: height.map((value) => value * depth), coat: null };
  },
});

export const concrete = material({
  name: "concrete",
  words: ["concrete", "stone"],
  draw: (random) => ({
    coarse: random.between(12, 30),
    pores: random.between(3, 7),
    cut: random.between(0.8, 1.4),
    grain: random.between(0.2, 0.5),
  }),
  render: ({ coarse, pores, cut, grain }, side, random) => {
    const hills = latticeNoise(side, { cellX: coarse, cellY: coarse }, random);
    const pits = latticeNoise(side, { cellX: pores, cellY: pores }, random).map((value) => -2 * Math.tanh(4 * Math.max(0, value - cut)));
    return {
      height: standardise(
        mix(
          hills.map((value, i) => value * 0.6 + (pits[i] as number)),
          whiteNoise(side, random),
          grain,
        ),
      ),
      coat: null,
    };
  },
});
