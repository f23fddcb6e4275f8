/** The plain baseline: a known wave has its power where it belongs, and plain numbers tell plain differences. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { RgbImage } from "@kenpin/clip";
import { fourierPower } from "../../../cloud-trainer/src/evaluate/fourier.ts";
import { plainFeatures } from "../../../cloud-trainer/src/evaluate/plain-features.ts";
import { draw } from "../../onnx/seeded-weights.ts";

const RINGS = 10;
const SECTORS = 12;

test("a cosine of known frequency has all of its power in two places, (A · N² / 2)² each", () => {
  const [side, amplitude, u, v] = [32, 3, 5, 7];
  const values = wave(side, (x, y) => 2 + amplitude * Math.cos((2 * Math.PI * (u * x + v * y)) / side + 0.4));
  const power = fourierPower(values, side);
  const expected = new Float64Array(side * side);
  expected[0] = (2 * side * side) ** 2;
  expected[v * side + u] = ((amplitude * side * side) / 2) ** 2;
  expected[(side - v) * side + (side - u)] = expected[v * side + u] as number;
  for (const [i, value] of power.entries()) assert.ok(Math.abs(value - (expected[i] as number)) < 1e-5, `${i}: ${value}`);
});

test("the transform is the sum that defines it, and keeps the energy (Parseval)", () => {
  const side = 8;
  const values = draw("fourier", side * side);
  const power = fourierPower(values, side);
  for (let v = 0; v < side; v++) {
    for (let u = 0; u < side; u++) {
      let [re, im] = [0, 0];
      for (let p = 0; p < values.length; p++) {
        const angle = (-2 * Math.PI * (u * (p % side) + v * Math.floor(p / side))) / side;
        re += (values[p] as number) * Math.cos(angle);
        im += (values[p] as number) * Math.sin(angle);
      }
      assert.ok(Math.abs((power[v * side + u] as number) - (re * re + im * im)) < 1e-9);
    }
  }
  const energy = values.reduce((sum, value) => sum + value * value, 0);
  assert.ok(Math.abs(power.reduce((sum, value) => sum + value, 0) - energy * side * side) < 1e-9);
});

test("a side that is no power of two, or values that are no square, are refused", () => {
  assert.throws(() => fourierPower(new Float64Array(9), 3), RangeError);
  assert.throws(() => fourierPower(new Float64Array(17), 4), RangeError);
  assert.throws(() => fourierPower(new Float64Array(1), 1), RangeError);
});

test("stripes put their share into the ring of their fineness and the sector of their direction", () => {
  for (const [cycles, ring] of [
    [4, 3],
    [24, 7],
    [56, 9],
  ] as const) {
    for (const upright of [true, false]) {
      const features = plainFeatures(
        picture(128, 128, (x, y) => 128 + 60 * Math.cos((2 * Math.PI * cycles * (upright ? x : y) + 1) / 128)),
      );
      const rings = features.slice(0, RINGS);
      const sectors = features.slice(RINGS, RINGS + SECTORS);
      assert.equal(rings.indexOf(Math.max(...rings)), ring, `${cycles} cycles`);
      // Stripes along x lie at angle 0, where the first and the last sector meet; stripes along y in the middle.
      const sector = sectors.indexOf(Math.max(...sectors));
      assert.ok(
        upright ? sector === 0 || sector === SECTORS - 1 : sector === SECTORS / 2 || sector === SECTORS / 2 - 1,
        `sector ${sector}`,
      );
    }
  }
});

test("the same number of features for every size, none of them infinite, also for a flat picture", () => {
  const sizes = [32, 33, 64, 250, 300].map((side) => plainFeatures(picture(side, side + 7, (x) => x % 256)));
  assert.equal(new Set(sizes.map((row) => row.length)).size, 1);
  const flat = plainFeatures(picture(64, 64, () => 90));
  for (const row of [...sizes, flat]) assert.ok(row.every(Number.isFinite));
});

test("tone is each colour's mean and deviation", () => {
  const image = picture(32, 32, (x, y) => ((x + y) % 2 === 0 ? 100 : 200));
  for (let p = 0; p < 32 * 32; p++) image.data[p * 3 + 2] = 51;
  const [red, , blue] = [0, 1, 2].map((c) =>
    plainFeatures(image)
      .slice(-6 - RINGS - SECTORS)
      .slice(c * 2, c * 2 + 2),
  ) as [number[], number[], number[]];
  assert.ok(Math.abs((red[0] as number) - 150 / 255) < 1e-9 && Math.abs((red[1] as number) - 50 / 255) < 1e-9);
  assert.ok(Math.abs((blue[0] as number) - 0.2) < 1e-9 && (blue[1] as number) < 1e-6);
});

test("a rough spot of sixteen pixels shows in the roughness, and an even surface does not", () => {
  const noise = draw("roughness", 128 * 128);
  const grain = (x: number, y: number) => 128 + 10 * (noise[y * 128 + x] as number);
  const spot = (x: number, y: number) => (x >= 40 && x < 56 && y >= 70 && y < 86 ? 128 + 60 * (noise[y * 128 + x] as number) : grain(x, y));
  const [even, rough] = [grain, spot].map((level) => plainFeatures(picture(128, 128, level)).slice(RINGS + SECTORS, RINGS + SECTORS + 4));
  for (let i = 0; i < 4; i++) {
    assert.ok((even?.[i] as number) < 1.8, `${even}`);
    assert.ok((rough?.[i] as number) > 3, `${rough}`);
  }
});

test("the layout of edges is told however faint they are: another contrast changes it little, another grid much", () => {
  const grid = (step: number, low: number, high: number) =>
    plainFeatures(picture(128, 128, (x, y) => ((Math.floor(x / step) + Math.floor(y / step)) % 2 === 0 ? low : high))).slice(
      -RINGS - SECTORS,
    );
  const away = (a: number[], b: number[]) => Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] as number)) ** 2, 0));
  const [strong, faint, other] = [grid(16, 20, 230), grid(16, 100, 140), grid(11, 20, 230)];
  assert.ok(away(strong, faint) < 0.2 * away(strong, other), `${away(strong, faint)} and ${away(strong, other)}`);
});

function wave(side: number, level: (x: number, y: number) => number): Float64Array {
  return Float64Array.from({ length: side * side }, (_, p) => level(p % side, Math.floor(p / side)));
}

function picture(width: number, height: number, level: (x: number, y: number) => number): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let p = 0; p < width * height; p++) data.fill(Math.round(level(p % width, Math.floor(p / width))), p * 3, p * 3 + 3);
  return { width, height, data };
}
