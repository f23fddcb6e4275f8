/**
 * Decoding and preprocessing against Pillow and torchvision on 200 pictures of odd sizes and modes, made by
 * test/fixtures/clip/make_images.py.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { clipPixels, cutSquare, decodeForClip, modelConfig } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import sharp from "sharp";
import { differenceOf, readGoldenImages } from "./golden-images.ts";

const golden = readGoldenImages(join(import.meta.dirname, "../fixtures/clip/images.bin.gz"));

test("200 pictures of odd sizes and modes become the pixels that Pillow and torchvision make of them", async () => {
  assert.equal(golden.length, 200);
  for (const { name, size, target, file, pixels } of golden) {
    const image = await decodeForClip(file);
    assert.deepEqual([image.width, image.height], size, name);
    const { largest, mean } = differenceOf(cutSquare(image, target).data, pixels);
    assert.ok(largest <= 1 && mean < 0.1, `${name}: largest ${largest}, mean ${mean}`);
  }
});

test("normalised pixels are planes of (v / 255 − mean) / std in float32", () => {
  const config = modelConfig("EVA02-B-16");
  const size = config.image.size;
  const data = Uint8Array.from({ length: size * size * 3 }, (_, i) => (i * 7) % 256);
  const out = clipPixels({ width: size, height: size, data }, config);
  for (const [channel, pixel] of [
    [0, 0],
    [1, 5],
    [2, size * size - 1],
  ] as const) {
    const expected =
      ((data[pixel * 3 + channel] as number) / 255 - (config.preprocess.mean[channel] as number)) /
      (config.preprocess.std[channel] as number);
    assert.ok(Math.abs((out[channel * size * size + pixel] as number) - expected) < 1e-6);
  }
});

test("a 16-bit grey frame keeps its picture instead of turning white", async () => {
  const grey = Uint16Array.from({ length: 16 * 16 }, (_, i) => i * 256);
  const png = await sharp(grey, { raw: { width: 16, height: 16, channels: 1 } })
    .toColourspace("grey16")
    .png()
    .toBuffer();
  const { data } = await decodeForClip(png);
  assert.deepEqual([...data.subarray(0, 9)], [0, 0, 0, 1, 1, 1, 2, 2, 2]);
  assert.equal(data[255 * 3], 255);
});

test("a hair of a picture, one pixel by thirty thousand, costs no more memory than its middle", () => {
  const hair = { width: 1, height: 30_000, data: Uint8Array.from({ length: 90_000 }, (_, i) => i % 256) };
  const { data } = cutSquare(hair, 224);
  assert.equal(data.length, 224 * 224 * 3);
  assert.notEqual(new Set(data).size, 1);
});

test("a picture cut short, an empty one and a bomb are refused with one clear line", async () => {
  const whole = golden.find(({ name }) => name.includes("jpeg-444"))?.file as Uint8Array;
  for (const [bytes, limit] of [
    [whole.subarray(0, whole.length / 2), undefined],
    [new Uint8Array(), undefined],
    [whole, 100],
  ] as const) {
    await assert.rejects(
      decodeForClip(bytes, limit),
      (error) => error instanceof KenpinError && error.code === "image-unreadable" && !error.message.includes("\n"),
    );
  }
});
