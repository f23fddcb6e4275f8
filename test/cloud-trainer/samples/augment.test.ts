/** Augmentation: what is left alone stays as the model's own preprocessing has it; what changes, changes as often and as much as said. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { clipPixels, decodeImage, modelConfig, type RgbImage } from "@kenpin/clip";
import { AugmentationRecipe } from "@kenpin/schema";
import { createRandom, randomAt } from "@kenpin/stats";
import { type Box, drawFrame, type Frame, reframe, reframeBoxes } from "../../../cloud-trainer/src/samples/augment/reframe.ts";
import { type Amounts, amountsOf, relight } from "../../../cloud-trainer/src/samples/augment/relight.ts";
import { augment, augmentedPixels } from "../../../cloud-trainer/src/samples/augment.ts";
import { surface } from "./made-set.ts";

const config = modelConfig("kenpin-s-8");
const SIZE = config.image.size;
const STILL: AugmentationRecipe = { crop: [1, 1], flip: false, turn: false, photometric: 0 };
const NOTHING: Amounts = amountsOf(0);

const square = async (seed: number, side: number) => decodeImage(await surface(seed, { width: side, height: side }));
const mean = (values: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum / values.length;
};
const deviation = (values: ArrayLike<number>) => {
  const middle = mean(values);
  return Math.sqrt(mean(Array.from(values, (value) => (value - middle) ** 2)));
};
const close = (value: number, wanted: number, within: number, what = "") =>
  assert.ok(Math.abs(value - wanted) <= within, `${what} ${value}, not ${wanted} ± ${within}`);

test("a picture that may not change comes out as the model's own preprocessing has it, to its rounding", async () => {
  for (const side of [SIZE, 57, 200]) {
    const image = await square(side, side);
    const pixels = await augmentedPixels(image, { config, augmentation: STILL, random: createRandom(1) });
    const wanted = clipPixels(image, config);
    // The reference rounds to whole grey levels after each axis; two roundings of a half, over the smallest deviation.
    const tolerance = side === SIZE ? 1e-6 : 1.5 / 255 / 0.26;
    for (const [i, value] of wanted.entries()) close(pixels[i] as number, value, tolerance, `${side}, ${i}:`);
  }
});

test("the same random numbers give the same bytes, others give other ones", async () => {
  const image = await square(1, 128);
  const augmentation = AugmentationRecipe.parse({ crop: [0.3, 1], flip: true, turn: true, photometric: 1 });
  for (let draw = 0; draw < 30; draw++) {
    const once = await augmentedPixels(image, { config, augmentation, random: randomAt(7, draw) });
    assert.deepEqual(await augmentedPixels(image, { config, augmentation, random: randomAt(7, draw) }), once);
    assert.notDeepEqual(await augmentedPixels(image, { config, augmentation, random: randomAt(8, draw) }), once);
    assert.ok(once.every(Number.isFinite));
  }
});

test("crops keep to the wanted shares of area and to ratios between 3:4 and 4:3, and reach every corner", () => {
  const random = createRandom(5);
  const options = { crop: [0.2, 0.8], ratio: [3 / 4, 4 / 3], flip: false, turn: false } as const;
  const image = { width: 400, height: 300 };
  const frames = Array.from({ length: 4000 }, () => drawFrame(image, options, random));
  const shares = frames.map(({ width, height }) => (width * height) / 120_000);
  assert.ok(Math.min(...shares) > 0.195 && Math.max(...shares) < 0.805);
  // Uniform over 0.2 to 0.8, but that the largest ones fit in fewer ratios: never above the middle.
  assert.ok(mean(shares) > 0.4 && mean(shares) <= 0.5, `${mean(shares)}`);
  for (const { x, y, width, height } of frames) {
    assert.ok(x >= 0 && y >= 0 && x + width <= 400 && y + height <= 300);
    assert.ok(width / height > 0.74 && width / height < 1.345);
  }
  assert.ok(frames.some(({ x }) => x === 0) && frames.some(({ x, width }) => x + width === 400));
  const wide = drawFrame({ width: 1000, height: 10 }, { ...options, crop: [1, 1] }, random);
  assert.deepEqual([wide.x, wide.y, wide.width, wide.height], [493, 0, 13, 10], "a picture no ratio fits gives its middle");
});

test("mirrored half the time and turned to each side a quarter of it, where the part allows; never otherwise", () => {
  const random = createRandom(9);
  const draw = (flip: boolean, turn: boolean) =>
    Array.from({ length: 4000 }, () => drawFrame({ width: 50, height: 50 }, { crop: [1, 1], ratio: [1, 1], flip, turn }, random));
  const free = draw(true, true);
  close(free.filter(({ mirrored }) => mirrored).length / 4000, 0.5, 0.03);
  for (const quarter of [0, 1, 2, 3]) close(free.filter(({ quarters }) => quarters === quarter).length / 4000, 0.25, 0.03);
  assert.ok(draw(false, false).every(({ mirrored, quarters }) => !mirrored && quarters === 0));
});

test("mask and boxes follow the frame, whichever way it is mirrored and turned", () => {
  const [width, height] = [120, 90];
  const box: Box = { x: 30, y: 20, width: 24, height: 15 };
  const mask = new Uint8Array(width * height);
  for (let y = box.y; y < box.y + box.height; y++) mask.fill(255, y * width + box.x, y * width + box.x + box.width);
  for (const mirrored of [false, true]) {
    for (const quarters of [0, 1, 2, 3]) {
      const frame: Frame = { x: 10, y: 5, width: 90, height: 60, mirrored, quarters };
      const plane = reframe({ width, data: mask }, frame, { size: 60, channels: 1 });
      const [found] = reframeBoxes([box], frame, 60);
      assert.ok(found);
      assert.deepEqual(boundsOf(plane, 60), roundedBox(found), `${mirrored} ${quarters}`);
    }
  }
});

test("a mirrored picture is the mirror image, a turned one turns clockwise", () => {
  const data = Uint8Array.from([10, 20, 30, 40]); // 10 20 / 30 40
  const levels = (mirrored: boolean, quarters: number) =>
    Array.from(reframe({ width: 2, data }, { x: 0, y: 0, width: 2, height: 2, mirrored, quarters }, { size: 2, channels: 1 }), (level) =>
      Math.round(level * 255),
    );
  assert.deepEqual(levels(false, 0), [10, 20, 30, 40]);
  assert.deepEqual(levels(true, 0), [20, 10, 40, 30]);
  assert.deepEqual(levels(false, 1), [30, 10, 40, 20]);
  assert.deepEqual(levels(false, 2), [40, 30, 20, 10]);
  assert.deepEqual(levels(true, 1), [40, 20, 30, 10]);
});

test("a box that is cut to less than a quarter is gone, one that is half seen is cut at the edge", () => {
  const frame: Frame = { x: 100, y: 100, width: 50, height: 50, mirrored: false, quarters: 0 };
  const boxes = [
    { x: 90, y: 110, width: 20, height: 10 },
    { x: 80, y: 110, width: 24, height: 10 },
    { x: 0, y: 0, width: 10, height: 10 },
  ];
  assert.deepEqual(reframeBoxes(boxes, frame, 100), [{ x: 0, y: 20, width: 20, height: 20 }]);
});

test("augment gives picture, mask and boxes of one frame", async () => {
  const image = await square(3, 160);
  const mask = new Uint8Array(160 * 160).fill(255);
  const random = createRandom(2);
  const augmentation = AugmentationRecipe.parse({ crop: [0.3, 0.5] });
  const out = await augment(image, { config, augmentation, random, mask, boxes: [{ x: 0, y: 0, width: 160, height: 160 }] });
  assert.equal(out.pixelValues.length, 3 * SIZE * SIZE);
  assert.ok(out.mask?.every((share) => share > 0.999));
  const [box] = out.boxes;
  assert.deepEqual([box?.x, box?.y, Math.round(box?.width ?? 0), Math.round(box?.height ?? 0)], [0, 0, SIZE, SIZE]);
});

test("strength 0 changes no level", async () => {
  const planes = planesOf(await square(4, SIZE));
  const out = await relight(planes, SIZE, NOTHING, createRandom(1));
  for (const [i, level] of planes.entries()) close(out[i] as number, level, 1e-6);
});

test("brightness, contrast and saturation change by at most what is said, evenly both ways", async () => {
  const planes = planesOf(await square(5, SIZE));
  const [level, spread, colour] = [mean(planes), greyDeviation(planes), colourfulness(planes)];
  const measured = async (amounts: Partial<Amounts>, figure: (out: Float32Array) => number) => {
    const random = createRandom(3);
    const figures: number[] = [];
    for (let i = 0; i < 400; i++) figures.push(figure(await relight(planes, SIZE, { ...NOTHING, ...amounts }, random)));
    return figures;
  };
  const ways: [Partial<Amounts>, (out: Float32Array) => number, number][] = [
    [{ brightness: 0.3 }, mean, level],
    [{ contrast: 0.3 }, greyDeviation, spread],
    [{ saturation: 0.3 }, colourfulness, colour],
  ];
  for (const [amounts, figure, before] of ways) {
    const ratios = (await measured(amounts, figure)).map((after) => after / before);
    const what = Object.keys(amounts)[0];
    assert.ok(Math.min(...ratios) > 0.69 && Math.max(...ratios) < 1.31, `${what} ${Math.min(...ratios)} ${Math.max(...ratios)}`);
    close(mean(ratios), 1, 0.03, what);
    close(deviation(ratios), 0.3 / Math.sqrt(3), 0.02, what); // uniform over ± 0.3
  }
});

test("gamma darkens or brightens the middle and leaves black and white where they are", async () => {
  const grey = Float32Array.from({ length: 3 * SIZE * SIZE }, (_, i) => (i % 3) / 2);
  const random = createRandom(4);
  const exponents: number[] = [];
  for (let i = 0; i < 300; i++) {
    const out = await relight(grey, SIZE, { ...NOTHING, gamma: 0.5 }, random);
    close(out[0] as number, 0, 1e-9);
    close(out[2] as number, 1, 1e-9);
    exponents.push(Math.log2(1 / (out[1] as number)));
  }
  assert.ok(Math.min(...exponents) > Math.exp(-0.51) && Math.max(...exponents) < Math.exp(0.51));
  close(mean(exponents.map(Math.log)), 0, 0.05);
});

test("blur, noise and JPEG come as often as said, and weaken or add detail as they should", async () => {
  const flat = new Float32Array(3 * SIZE * SIZE).fill(0.5);
  const textured = planesOf(await square(6, SIZE));
  const tries = 300;
  const share = async (planes: Float32Array, amounts: Partial<Amounts>, sign: (out: Float32Array) => boolean) => {
    const random = createRandom(6);
    let count = 0;
    for (let i = 0; i < tries; i++) count += Number(sign(await relight(planes, SIZE, { ...NOTHING, ...amounts, often: 0.4 }, random)));
    return count / tries;
  };
  const before = roughness(textured);
  close(await share(textured, { blur: 2 }, (out) => roughness(out) < before * 0.999), 0.4, 0.1, "blur"); // the slightest are not seen
  close(await share(flat, { noise: 0.1 }, (out) => deviation(out) > 1e-4), 0.4, 0.09, "noise");
  close(
    await share(textured, { jpegQuality: 20 }, (out) => out.some((level, i) => Math.abs(level - (textured[i] as number)) > 0.01)),
    0.4,
    0.09,
    "JPEG",
  );
});

test("noise has the deviation that was drawn for it: uniform up to the largest", async () => {
  const flat = new Float32Array(3 * SIZE * SIZE).fill(0.5);
  const random = createRandom(8);
  const deviations: number[] = [];
  for (let i = 0; i < 200; i++) deviations.push(deviation(await relight(flat, SIZE, { ...NOTHING, noise: 0.1, often: 1 }, random)));
  assert.ok(Math.max(...deviations) < 0.102);
  close(mean(deviations), 0.05, 0.006);
});

function planesOf({ width, height, data }: RgbImage): Float32Array {
  const area = width * height;
  return Float32Array.from({ length: 3 * area }, (_, i) => (data[(i % area) * 3 + Math.floor(i / area)] as number) / 255);
}

function greys(planes: Float32Array): Float32Array {
  const area = planes.length / 3;
  return planes
    .subarray(0, area)
    .map((red, p) => 0.299 * red + 0.587 * (planes[area + p] as number) + 0.114 * (planes[2 * area + p] as number));
}

function greyDeviation(planes: Float32Array): number {
  return deviation(greys(planes));
}

/** Deviation of red from grey. */
function colourfulness(planes: Float32Array): number {
  const grey = greys(planes);
  return deviation(grey.map((level, p) => (planes[p] as number) - level));
}

function roughness(planes: Float32Array): number {
  return deviation(planes.subarray(1).map((level, i) => level - (planes[i] as number)));
}

/** Where a plane is more than half set. */
function boundsOf(plane: Float32Array, size: number): Box {
  const set = [...plane.keys()].filter((p) => (plane[p] as number) > 0.5);
  const [xs, ys] = [set.map((p) => p % size), set.map((p) => Math.floor(p / size))];
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  return { x, y, width: Math.max(...xs) - x + 1, height: Math.max(...ys) - y + 1 };
}

function roundedBox({ x, y, width, height }: Box): Box {
  const [left, top] = [Math.round(x), Math.round(y)];
  return { x: left, y: top, width: Math.round(x + width) - left, height: Math.round(y + height) - top };
}
