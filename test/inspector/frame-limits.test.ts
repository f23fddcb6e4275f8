/** Frames no camera should send, through a real inspector: answered or refused in one line, in bounded memory. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { unpackBundle } from "@kenpin/bundle";
import { type Inspector, startInspector } from "@kenpin/inspector";
import sharp, { type Sharp } from "sharp";
import { drawFrame, testBundle } from "../support/test-bundle.ts";

let folder: string;
let inspector: Inspector;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kenpin-limits-"));
  const { file, signer } = await testBundle();
  const place = { tar: file, outDir: join(folder, "bundle"), rootKey: signer.rootKey };
  await unpackBundle({ ...place, now: new Date(), newestRelease: 0, agentVersion: "99.0.0" });
  inspector = await startInspector({ bundleDir: place.outDir, threads: 1, timeoutMs: 120_000 });
});
after(async () => {
  await inspector.close();
  await rm(folder, { recursive: true, force: true });
});

test("frames of one pixel, of a line, and of a size no tile divides are inspected, with boxes inside them", async () => {
  for (const [width, height] of [
    [1, 1],
    [1, 10_000],
    [10_000, 1],
    [33, 47],
  ] as const) {
    const frame = await sharp({ create: { width, height, channels: 3, background: "#c0a020" } })
      .png()
      .toBuffer();
    const { inspection, map } = await inspector.inspect(frame, { map: true });
    assert.deepEqual([inspection.width, inspection.height], [width, height]);
    assert.ok(inspection.score >= 0 && inspection.score <= 1);
    for (const region of inspection.regions) {
      assert.ok(region.x >= 0 && region.y >= 0 && region.x + region.width <= width + 1e-6 && region.y + region.height <= height + 1e-6);
    }
    const drawn = await sharp(map).metadata();
    assert.deepEqual([drawn.width, drawn.height], [width, height]);
  }
});

test("a line of pixels and one pixel can be taught, and are told from each other", async () => {
  const exemplars = await Promise.all(
    Array.from({ length: 4 }, async (_, i) => {
      const frame = await sharp({ create: { width: 1, height: 10_000, channels: 3, background: `#0000${i + 1}0` } })
        .png()
        .toBuffer();
      return { frame, label: "good" as const };
    }),
  );
  assert.equal((await inspector.teach(exemplars)).references, 4);
  assert.ok(Number.isFinite((await inspector.inspect(await drawFrame())).inspection.score));
  await inspector.teach([]);
});

const status = () => `/proc/${inspector.pid}/status`;
const peakMb = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(status(), "utf8"))?.[1]) / 1024;

/** Unpacked, the frame alone is 300 MB; what the worker may grow by holds no second copy, and for most kinds not even one. */
const KINDS = [
  ["a JPEG", 100, (image: Sharp) => image.jpeg({ quality: 80 })],
  ["a PNG", 150, (image: Sharp) => image.png({ compressionLevel: 1 })],
  ["a progressive JPEG", 500, (image: Sharp) => image.jpeg({ quality: 80, progressive: true })],
] as const;

for (const [name, growthMb, pack] of KINDS) {
  test(`${name} of 100 megapixels is inspected in bounded memory`, {
    skip: existsSync("/proc/self/status") ? false : "no /proc",
  }, async () => {
    const frame = await pack(sharp({ create: { width: 10_000, height: 10_000, channels: 3, background: "#808080" } })).toBuffer();
    await inspector.inspect(await drawFrame());
    const before = peakMb();
    const { inspection } = await inspector.inspect(frame);
    assert.deepEqual([inspection.width, inspection.height], [10_000, 10_000]);
    const grown = peakMb() - before;
    assert.ok(grown < growthMb, `the worker grew by ${grown.toFixed(0)} MB`);
  });
}

test("a frame of more pixels than that is refused by its header, and the next one is inspected", async () => {
  const frame = await sharp({ create: { width: 10_001, height: 10_000, channels: 3, background: "#808080" }, limitInputPixels: false })
    .png({ compressionLevel: 1 })
    .toBuffer();
  await assert.rejects(inspector.inspect(frame), { code: "image-unreadable", message: /pixel limit/ });
  assert.ok((await inspector.inspect(await drawFrame())).inspection.score >= 0);
});
