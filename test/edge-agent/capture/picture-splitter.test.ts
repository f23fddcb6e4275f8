/** Whole pictures out of a pipe's chunks, whatever the chunks are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { KenpinError } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import fc from "fast-check";
import sharp from "sharp";
import { PictureSplitter } from "../../../edge-agent/src/capture/picture-splitter.ts";

test("JPEGs and PNGs on one pipe come out whole and byte by byte the same, however the pipe cuts them", async () => {
  const pictures = [
    await noise(40, "jpeg"),
    await noise(17, "png"),
    await withThumbnail(),
    await noise(64, "progressive"),
    await noise(1, "png"),
  ];
  const stream = Buffer.concat(pictures);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 30 }), (sizes) => {
      const splitter = new PictureSplitter();
      const got: Buffer[] = [];
      for (let at = 0, i = 0; at < stream.length; i++) {
        const size = sizes[i % sizes.length] as number;
        got.push(...splitter.push(stream.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(got.map(hex), pictures.map(hex));
    }),
    { numRuns: 40 },
  );
});

test("a picture within a picture's metadata ends nothing", async () => {
  const picture = await withThumbnail();
  assert.ok(picture.indexOf(Buffer.from([0xff, 0xd9])) < picture.length - 2); // the small one's end
  assert.deepEqual(new PictureSplitter().push(picture).map(hex), [hex(picture)]);
});

test("what is no picture and what is too large is an error, however large it says it will be", async () => {
  const refused = (bytes: Buffer, limit?: number) => {
    try {
      new PictureSplitter(limit).push(bytes);
    } catch (error) {
      return (error as KenpinError).code;
    }
    return "taken";
  };
  assert.equal(refused(Buffer.from("no picture at all")), "frames-expected");
  assert.equal(refused(Buffer.alloc(64)), "frames-expected");
  assert.equal(refused(await noise(64, "jpeg"), 500), "frame-too-large");
  const png = await noise(8, "png");
  png.writeUInt32BE(0xfffffff0, 8); // its first chunk claims four gigabytes
  assert.equal(refused(png), "frame-too-large");
  const jpeg = await noise(16, "jpeg");
  assert.equal(refused(Buffer.concat([jpeg.subarray(0, 2), Buffer.from("segments?"), jpeg.subarray(2)])), "frames-expected");
});

test("no bytes make it do anything but give pictures or refuse", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("ffd8ffe0", "89504e470d0a1a0a", ""),
      fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }),
      (head, chunks) => {
        const splitter = new PictureSplitter(400);
        try {
          splitter.push(Buffer.from(head, "hex"));
          for (const chunk of chunks) for (const picture of splitter.push(Buffer.from(chunk))) assert.ok(picture.length <= 400);
        } catch (error) {
          assert.ok(error instanceof KenpinError, String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

async function noise(side: number, type: "jpeg" | "png" | "progressive"): Promise<Buffer> {
  const random = createRandom(side);
  const data = Buffer.from(Array.from({ length: side * side * 3 }, () => Math.floor(random.next() * 256)));
  const image = sharp(data, { raw: { width: side, height: side, channels: 3 } });
  return type === "png" ? image.png().toBuffer() : image.jpeg({ quality: 90, progressive: type === "progressive" }).toBuffer();
}

/** A JPEG with another whole JPEG in a segment of its own, as cameras put it there. */
async function withThumbnail(): Promise<Buffer> {
  const [picture, small] = [await noise(48, "jpeg"), await noise(8, "jpeg")];
  const segment = Buffer.from([0xff, 0xe1, 0, 0]);
  segment.writeUInt16BE(small.length + 2, 2);
  return Buffer.concat([picture.subarray(0, 2), segment, small, picture.subarray(2)]);
}

function hex(bytes: Buffer): string {
  return bytes.toString("hex");
}
