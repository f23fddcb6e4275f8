/** Metals by how they were made: brushed, cast, machined, and a perforated sheet. */
import { fieldOf, latticeNoise, mix, standardise, step, whiteNoise } from "../field.ts";
import { material } from "./material.ts";

export const brushed = material({
  name: "brushed",
  words: ["brushed metal", "brushed steel"],
  draw: (random) => ({
    length: random.between(25, 80),
    width: random.between(1, 2.5),
    angle: random.next() * Math.PI,
    grain: random.between(0.05, 0.2),
  }),
  render: ({ length, width, angle, grain }, side, random) => {
    const lines = latticeNoise(side, { cellX: length, cellY: width, angle }, random);
    return { height: standardise(mix(lines, whiteNoise(side, random), grain)), coat: null };
  },
});

export const cast = material({
  name: "cast",
  words: ["cast metal", "a casting"],
  draw: (random) => ({ coarse: random.between(6, 20), fine: random.between(2, 4), grain: random.between(0.2, 0.6) }),
  render: ({ coarse, fine, grain }, side, random) => {
    const [hills, sand] = [coarse, fine].map((cell) => latticeNoise(side, { cellX: cell, cellY: cell }, random)) as [
      Float32Array,
      Float32Array,
    ];
    return { height: standardise(mix(hills, sand, grain)), coat: null };
  },
});

export const machined = material({
  name: "machined",
  words: ["machined metal", "a milled surface"],
  draw: (random) => ({
    pitch: random.between(2.5, 8),
    radius: random.between(60, 400),
    wobble: random.between(0, 0.4),
    towards: random.next() * 2 * Math.PI,
  }),
  render: ({ pitch, radius, wobble, towards }, side, random) => {
    const noise = latticeNoise(side, { cellX: 15, cellY: 15 }, random);
    const phase = random.next() * pitch;
    const [cx, cy] = [side / 2 + radius * Math.cos(towards), side / 2 + radius * Math.sin(towards)];
    const marks = fieldOf(side, (x, y) => {
      const away = Math.hypot(x - cx, y - cy);
      return Math.sin(((away + phase) / pitch + wobble * (noise[y * side + x] as number)) * 2 * Math.PI);
    });
    return { height: standardise(mix(marks, whiteNoise(side, random), 0.2)), coat: null };
  },
});

export const perforated = material({
  name: "perforated",
  words: ["a perforated sheet", "a metal mesh"],
  draw: (random) => ({
    pitch: random.between(7, 20),
    share: random.between(0.22, 0.4),
    angle: random.next() * Math.PI,
    shifted: random.next() < 0.5 ? 0.5 : 0,
    grain: random.between(2, 8),
  }),
  render: ({ pitch, share, angle, shifted, grain }, side, random) => {
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const [left, top] = [random.next() * 100, random.next() * 100];
    const holes = fieldOf(side, (x, y) => {
      const v = (y * cos - x * sin + top) / pitch + 50;
      const u = (x * cos + y * sin + left) / pitch + shifted * (Math.floor(v) % 2) + 50;
      return step(share * pitch - pitch * Math.hypot((u % 1) - 0.5, (v % 1) - 0.5));
    });
    return {
      height: standardise(mix(latticeNoise(side, { cellX: grain, cellY: grain }, random), whiteNoise(side, random), 0.3)),
      coat: holes,
    };
  },
});
