/** What a camera, or somebody's hand, may send: every kind of picture comes out as 8-bit RGB or is refused in one clear line. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeImage } from "@kenpin/clip";
import sharp, { type Sharp } from "sharp";

const PATCHES = [
  [200, 30, 40],
  [20, 180, 60],
] as const;

/** Two halves of plain colour: what survives any compression. */
function halves(side = 32): Sharp {
  const data = Buffer.alloc(side * side * 3);
  for (let i = 0; i < data.length; i++) data[i] = PATCHES[Math.floor(i / 3) % side < side / 2 ? 0 : 1]?.[i % 3] as number;
  return sharp(data, { raw: { width: side, height: side, channels: 3 } });
}

async function expectHalves(bytes: Uint8Array, tolerance: number, side = 32): Promise<void> {
  const { width, height, data } = await decodeImage(bytes);
  assert.deepEqual([width, height, data.length], [side, side, side * side * 3]);
  for (const [half, colour] of PATCHES.entries()) {
    const at = ((side / 2) * side + half * (side / 2) + side / 4) * 3;
    for (const [c, value] of colour.entries()) {
      assert.ok(Math.abs((data[at + c] as number) - value) <= tolerance, `channel ${c}: ${data[at + c]}, expected ${value}`);
    }
  }
}

test("JPEG, PNG, WebP, TIFF, GIF and AVIF come out in their colours", async () => {
  await expectHalves(await halves().jpeg({ quality: 95 }).toBuffer(), 4);
  await expectHalves(await halves().jpeg({ quality: 95, progressive: true }).toBuffer(), 4);
  await expectHalves(await halves().png().toBuffer(), 0);
  await expectHalves(await halves().png({ progressive: true }).toBuffer(), 0);
  await expectHalves(await halves().webp({ lossless: true }).toBuffer(), 1);
  await expectHalves(await halves().tiff({ compression: "lzw" }).toBuffer(), 0);
  await expectHalves(await halves().gif().toBuffer(), 8);
  await expectHalves(await halves().avif({ quality: 90 }).toBuffer(), 8);
});

test("16 bits, grey, transparency and CMYK become 8-bit RGB", async () => {
  await expectHalves(await halves().toColourspace("rgb16").png().toBuffer(), 1);
  const cmyk = await halves().toColourspace("cmyk").jpeg({ quality: 100 }).toBuffer();
  assert.equal((await sharp(cmyk).metadata()).space, "cmyk");
  await expectHalves(cmyk, 45); // as near as inks come to these colours
  await expectHalves(await halves().ensureAlpha(0.5).png().toBuffer(), 0);
  const grey = await decodeImage(
    await sharp({ create: { width: 4, height: 3, channels: 3, background: "#808080" } })
      .greyscale()
      .png()
      .toBuffer(),
  );
  assert.deepEqual([grey.width, grey.height, grey.data.length], [4, 3, 36]);
  assert.ok(grey.data.every((value) => value === grey.data[0]));
  const deep = Buffer.alloc(2 * 8 * 8);
  for (let i = 0; i < 64; i++) deep.writeUInt16LE(0xa000, i * 2);
  const deepGrey = await sharp(new Uint16Array(deep.buffer, deep.byteOffset, 64), { raw: { width: 8, height: 8, channels: 1 } })
    .toColourspace("grey16")
    .png()
    .toBuffer();
  assert.equal((await sharp(deepGrey).metadata()).depth, "ushort");
  const { data } = await decodeImage(deepGrey);
  assert.ok(Math.abs((data[0] as number) - 0xa0) <= 1, `${data[0]}`);
});

test("of an animated GIF the first picture counts", async () => {
  const frame = (background: string) =>
    sharp({ create: { width: 16, height: 16, channels: 3, background } })
      .png()
      .toBuffer();
  const animated = await sharp([await frame("#c81e28"), await frame("#14b43c")], { join: { animated: true } })
    .gif()
    .toBuffer();
  assert.equal((await sharp(animated).metadata()).pages, 2);
  const { width, height, data } = await decodeImage(animated);
  assert.deepEqual([width, height], [16, 16]);
  assert.ok(Math.abs((data[0] as number) - 0xc8) <= 4 && (data[1] as number) < 60, `${data.subarray(0, 3)}`);
});

test("a camera's turn is applied", async () => {
  const turned = await halves().extract({ left: 0, top: 0, width: 32, height: 16 }).jpeg().withMetadata({ orientation: 6 }).toBuffer();
  const { width, height } = await decodeImage(turned);
  assert.deepEqual([width, height], [16, 32]);
});

test("one pixel, and a line of ten thousand, are pictures", async () => {
  for (const [width, height] of [
    [1, 1],
    [1, 10_000],
    [10_000, 1],
  ] as const) {
    const bytes = await sharp({ create: { width, height, channels: 3, background: "#646464" } })
      .png()
      .toBuffer();
    const image = await decodeImage(bytes);
    assert.deepEqual([image.width, image.height], [width, height]);
    assert.ok(image.data.every((value) => value === 100));
  }
});

test("what is no picture, or half of one, is refused in one line that says what came", async () => {
  const jpeg = await halves(200).jpeg().toBuffer();
  const png = await halves(200).png().toBuffer();
  const cases: [name: string, bytes: Uint8Array, says: RegExp][] = [
    ["nothing", new Uint8Array(), /zero bytes/],
    ["a PDF", Buffer.from("%PDF-1.7\n1 0 obj"), /it begins with "%PDF-1\.7/],
    ["a text", Buffer.from("no picture at all"), /it begins with "no picture/],
    ["a drawing", Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'), /it begins with "<svg/],
    ["three bytes", Uint8Array.of(0xff, 0xd8, 0xff), /cannot be read/],
    ["half a JPEG", jpeg.subarray(0, jpeg.length / 2), /cannot be read/],
    ["half a PNG", png.subarray(0, png.length / 2), /cannot be read/],
    ["a JPEG of noise", Buffer.concat([jpeg.subarray(0, 20), Buffer.alloc(500, 0x5a)]), /cannot be read/],
  ];
  for (const [name, bytes, says] of cases) {
    await assert.rejects(decodeImage(bytes), (error: Error & { code?: string }) => {
      assert.equal(error.code, "image-unreadable", name);
      assert.match(error.message, says);
      assert.match(error.message, /^[^\n]+$/);
      return true;
    });
  }
});

test("a picture of more pixels than allowed is refused by its header", async () => {
  const bytes = await sharp({ create: { width: 300, height: 200, channels: 3, background: "#000" } })
    .png()
    .toBuffer();
  await assert.rejects(decodeImage(bytes, 59_999), { code: "image-unreadable", message: /pixel limit/ });
  assert.equal((await decodeImage(bytes, 60_000)).width, 300);
});
