/**
 * Parts on a background: an assembly of like parts in places of their own, one of which may be missing, misplaced, extra or wrong; and
 * a single part, whose edge may be chipped, burred or bent. Pose and the background's texture change from picture to picture.
 */
import type { Random } from "@kenpin/stats";
import { type Field, fieldOf, latticeNoise, mix, smooth, standardise, step, whiteNoise } from "../field.ts";
import { type Flaw, material } from "./material.ts";
import { OUTLINES, type Outline, outlineDistance } from "./outlines.ts";

type Pose = { turn: number; left: number; top: number };
const STILL: Pose = { turn: 0, left: 0, top: 0 };

/** A place whose part is off by (du, dv) pixels, of another outline, or not there at all. */
type Slot = { column: number; row: number; outline: Outline | null; du: number; dv: number };
type Assembly = Pose & { pitch: number; share: number; outline: Outline; ground: number; rim: number; odd: Slot | null };

export const assembly = material<Assembly>({
  name: "assembly",
  words: ["an assembly", "mounted parts", "a board with components"],
  draw: (random) => ({
    ...STILL,
    pitch: random.between(17, 40),
    share: random.between(0.2, 0.36),
    outline: random.pick(OUTLINES),
    ground: random.between(1.5, 12),
    rim: random.between(0.3, 2),
    odd: null,
  }),
  pose: (parts, random) => ({ ...parts, turn: random.between(-0.06, 0.06), left: random.between(-5, 5), top: random.between(-5, 5) }),
  render: ({ pitch, share, outline, ground, rim, odd, ...pose }, side, random) => {
    const floor = standardise(mix(latticeNoise(side, { cellX: ground, cellY: ground }, random), whiteNoise(side, random), 0.4));
    const coat = new Float32Array(side * side);
    const height = placed(pose, side, (x, y, i) => {
      const [column, row] = [Math.floor(x / pitch), Math.floor(y / pitch)];
      const isOdd = odd !== null && column === odd.column && row === odd.row;
      const u = x - (column + 0.5) * pitch - (isOdd ? odd.du : 0);
      const v = y - (row + 0.5) * pitch - (isOdd ? odd.dv : 0);
      const shown = isOdd ? odd.outline : outline;
      const away = shown ? outlineDistance(shown, u, v, share * pitch) : 99;
      coat[i] = step(-away);
      return 0.5 * (floor[i] as number) + rim * Math.exp(-Math.abs(away) / 1.5) * (away < 0 ? 1 : -0.6);
    });
    return { height, coat };
  },
  flaws: [
    oddPart({ name: "missing part", words: ["a missing part", "a missing component"], adjectives: ["incomplete"] }, 0, () => ({
      outline: null,
      du: 0,
      dv: 0,
    })),
    oddPart(
      { name: "misplaced part", words: ["a misplaced component", "a misplaced part"], adjectives: ["misaligned"] },
      0.2,
      (parts, random) => {
        const [angle, far] = [random.next() * 2 * Math.PI, random.between(0.13, 0.22) * parts.pitch];
        return { outline: parts.outline, du: far * Math.cos(angle), dv: far * Math.sin(angle) };
      },
    ),
    oddPart({ name: "wrong part", words: ["a wrong component", "a wrong part"], adjectives: [] }, 0, (parts, random) => ({
      outline: random.pick(OUTLINES.filter((outline) => outline !== parts.outline)),
      du: 0,
      dv: 0,
    })),
    {
      name: "extra part",
      words: ["an extra part", "an extra component"],
      adjectives: [],
      spoil: (parts, side, random) => {
        // A second grid, half a pitch on, seen only where one of its parts lies.
        const moved = { ...parts, left: parts.left + parts.pitch / 2, top: parts.top + parts.pitch / 2 };
        const { column, row } = someSlot(moved, side, random);
        return {
          constants: { ...moved, share: Math.min(parts.share, 0.22) },
          mask: slotMask(moved, { column, row }, side, 0.3 * parts.pitch),
        };
      },
    },
  ],
});

function oddPart(flaw: Flaw, reach: number, change: (parts: Assembly, random: Random) => Omit<Slot, "column" | "row">) {
  const spoil = (parts: Assembly, side: number, random: Random) => {
    const place = someSlot(parts, side, random);
    const radius = Math.min(0.48, parts.share * 1.1 + reach) * parts.pitch;
    return { constants: { ...parts, odd: { ...place, ...change(parts, random) } }, mask: slotMask(parts, place, side, radius) };
  };
  return { ...flaw, spoil };
}

/** One whose middle is seen. */
function someSlot({ pitch }: Assembly, side: number, random: Random): { column: number; row: number } {
  const one = () => Math.floor(random.between(0.15 * side, 0.85 * side) / pitch);
  return { column: one(), row: one() };
}

function slotMask({ pitch, ...pose }: Assembly, { column, row }: { column: number; row: number }, side: number, radius: number): Field {
  return placed(pose, side, (x, y) => smooth(radius - Math.hypot(x - (column + 0.5) * pitch, y - (row + 0.5) * pitch)));
}

/** A value a pixel from its place in the posed part's own coordinates. */
function placed({ turn, left, top }: Pose, side: number, value: (x: number, y: number, i: number) => number): Field {
  const [cos, sin, middle] = [Math.cos(turn), Math.sin(turn), side / 2];
  return fieldOf(side, (x, y) => {
    const [dx, dy] = [x - middle, y - middle];
    return value(dx * cos + dy * sin + middle - left, dy * cos - dx * sin + middle - top, y * side + x);
  });
}

type Part = Pose & {
  outline: Outline;
  radius: number;
  ground: number;
  finish: number;
  rim: number;
  bite: { u: number; v: number; radius: number } | null;
  bend: number;
};

export const singlePart = material<Part>({
  name: "single part",
  words: ["a metal part", "a component", "a workpiece"],
  draw: (random) => ({
    ...STILL,
    outline: random.pick(OUTLINES),
    radius: random.between(16, 40),
    ground: random.between(2, 20),
    finish: random.between(1.2, 8),
    rim: random.between(0.3, 2),
    bite: null,
    bend: 0,
  }),
  pose: (part, random) => ({ ...part, turn: random.next() * 2 * Math.PI, left: random.between(-12, 12), top: random.between(-12, 12) }),
  render: ({ outline, radius, ground, finish, rim, bite, bend, ...pose }, side, random) => {
    const floor = latticeNoise(side, { cellX: ground, cellY: ground }, random);
    const skin = mix(latticeNoise(side, { cellX: finish, cellY: finish }, random), whiteNoise(side, random), 0.3);
    const coat = new Float32Array(side * side);
    const middle = side / 2;
    const height = placed(pose, side, (x, y, i) => {
      const [u, v] = [x - middle, y - middle];
      let away = outlineDistance(outline, u, v, radius * (1 + bend * Math.sin(2 * Math.atan2(v, u))));
      // A bite is taken off the part, a burr, whose radius is negative, is added to it.
      if (bite) {
        const from = Math.hypot(u - bite.u, v - bite.v) - Math.abs(bite.radius);
        away = bite.radius > 0 ? Math.max(away, -from) : Math.min(away, from);
      }
      const inside = step(-away);
      coat[i] = inside;
      const texture = (floor[i] as number) * (1 - inside) + 0.7 * (skin[i] as number) * inside;
      return texture + rim * Math.exp(-Math.abs(away) / 1.5) * (away < 0 ? 1 : -0.6);
    });
    return { height, coat };
  },
  flaws: [
    edgeFlaw("chipped edge", ["a chipped edge", "a broken edge"], ["chipped"], (random) => random.between(3.5, 8)),
    edgeFlaw("burr", ["a burr", "burrs"], ["burred"], (random) => -random.between(2, 4.5)),
    {
      name: "deformed",
      words: ["a deformed shape", "a bend"],
      adjectives: ["deformed", "bent"],
      spoil: (part, side, random) => ({
        constants: { ...part, bend: random.between(0.1, 0.25) * (random.next() < 0.5 ? 1 : -1) },
        mask: placed(part, side, (x, y) => smooth((part.radius * 1.35 - Math.hypot(x - side / 2, y - side / 2)) / 2)),
      }),
    },
  ],
});

function edgeFlaw(name: string, words: string[], adjectives: string[], size: (random: Random) => number) {
  const spoil = (part: Part, side: number, random: Random) => {
    const [angle, radius] = [random.next() * 2 * Math.PI, size(random)];
    const far = outermost(part, angle);
    const [u, v] = [far * Math.cos(angle), far * Math.sin(angle)];
    const mask = placed(part, side, (x, y) => smooth(Math.abs(radius) + 1.5 - Math.hypot(x - side / 2 - u, y - side / 2 - v)));
    return { constants: { ...part, bite: { u, v, radius } }, mask };
  };
  return { name, words, adjectives, spoil };
}

/** How far out the part reaches that way. */
function outermost({ outline, radius }: Part, angle: number): number {
  let far = radius * 1.5;
  while (far > 0 && outlineDistance(outline, far * Math.cos(angle), far * Math.sin(angle), radius) > 0) far -= 0.5;
  return far;
}
