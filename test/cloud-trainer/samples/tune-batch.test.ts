/** What a site's model is tuned on: as many good frames as bad, crops with painted defects, surfaces to replay. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { modelConfig, type RgbImage, tilePlaces } from "@kenpin/clip";
import type { Preprocess } from "@kenpin/schema";
import { surfacePool } from "../../../cloud-trainer/src/samples/batch.ts";
import type { LabelledFrame } from "../../../cloud-trainer/src/samples/labelled.ts";
import { tuneBatches } from "../../../cloud-trainer/src/samples/tune-batch.ts";
import { draw } from "../../onnx/seeded-weights.ts";

const config = modelConfig("kenpin-s-8");
const SIDE = config.image.size;
const preprocess: Preprocess = { tilePx: SIDE, overlapPx: 16, maxTiles: 25, ...config.preprocess };
const sizes = { crops: 8, replay: 4, frames: 6 };
const replay = surfacePool(1, SIDE, 12, () => undefined);
const PATCHES = (SIDE / config.image.patch) ** 2;

/** Red says which frame a picture was cut from: 40 and more for good ones, 200 for bad. The rest is a seeded texture. */
function frame(index: number, label: "good" | "bad", width = 200, height = 180): LabelledFrame {
  const texture = draw(`frame ${index} ${label}`, width * height);
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    if (i % 3 === 0) return label === "good" ? 40 + index : 200;
    return 128 + Math.round((texture[Math.floor(i / 3)] as number) * 60);
  });
  const image: RgbImage = { width, height, data };
  return { file: "", sha256: `${label}${index}`, label, reason: "random", drawProbability: 0.1, image };
}

const frames = [...Array.from({ length: 5 }, (_, i) => frame(i, "good")), ...Array.from({ length: 2 }, (_, i) => frame(i, "bad"))];

test("a batch holds crops, replay and whole frames, and says how many pictures that is", async () => {
  const { masked, frames: whole, size } = await tuneBatches({ config, preprocess, frames, replay, sizes, seed: 1 })(0);
  assert.equal(masked.size, sizes.crops + sizes.replay);
  assert.equal(masked.pixelValues.length, masked.size * 3 * SIDE * SIDE);
  assert.equal(masked.cropIsBad.length, sizes.crops);
  assert.equal(masked.replay.positive.length, sizes.replay * masked.replay.captions.length);
  assert.equal(whole.count, sizes.frames);
  assert.equal(whole.pixelValues.length, whole.count * whole.tiles * 3 * SIDE * SIDE);
  assert.equal(size, masked.size + whole.count * whole.tiles);
});

test("half of the frames are bad however few there are, and each shows what its label says", async () => {
  const next = tuneBatches({ config, preprocess, frames, replay, sizes, seed: 2 });
  const seen = new Set<string>();
  for (let i = 0; i < 6; i++) {
    const { frames: whole } = await next(i);
    assert.equal(whole.isBad.filter(Boolean).length, sizes.frames / 2);
    for (const [f, isBad] of whole.isBad.entries()) {
      const red = meanOf(whole.pixelValues, f * whole.tiles * 3 * SIDE * SIDE);
      assert.equal(red > 150, isBad, `red ${red}`); // the light is changed by less than an eighth
      const own = whole.pixelValues.slice(f * whole.tiles * 3 * SIDE * SIDE, (f + 1) * whole.tiles * 3 * SIDE * SIDE);
      seen.add(createHash("sha256").update(new Uint8Array(own.buffer)).digest("hex"));
    }
  }
  assert.equal(seen.size, 36, "no frame comes back the same to the pixel");
});

test("a crop has a mask only where a defect was painted, and lies in a good frame", async () => {
  const next = tuneBatches({ config, preprocess, frames, replay, sizes, seed: 3 });
  let [bad, good] = [0, 0];
  for (let i = 0; i < 12; i++) {
    const { masked } = await next(i);
    for (const [c, isBad] of masked.cropIsBad.entries()) {
      const targets = masked.patchTargets.subarray(c * PATCHES, (c + 1) * PATCHES);
      const weights = masked.patchWeights.subarray(c * PATCHES, (c + 1) * PATCHES);
      if (isBad) {
        bad++;
        assert.ok(
          weights.some((weight) => weight !== 1),
          "something of the defect lies in some patch",
        );
        continue;
      }
      good++;
      assert.ok(targets.every((target) => target === 0) && weights.every((weight) => weight === 1));
      const reds = new Set(masked.pixelValues.subarray(c * 3 * SIDE * SIDE, (c * 3 + 1) * SIDE * SIDE));
      assert.equal(reds.size, 1, "an unpainted crop is the frame itself");
      const red = Math.round(toByte([...reds][0] as number));
      assert.ok(red >= 40 && red < 45, `red ${red} is no good frame's`);
    }
  }
  assert.ok(bad > 12 && good > 40, `${bad} bad, ${good} good`);
});

test("the same seed draws the same batches, whichever was asked for first", async () => {
  const options = { config, preprocess, frames, replay, sizes };
  const [a, b, c] = [4, 4, 5].map((seed) => tuneBatches({ ...options, seed })) as [Next, Next, Next];
  const [first, second] = [await a(0), await a(1)];
  assert.deepEqual([await b(1), await b(0)], [second, first]);
  assert.notDeepEqual((await c(0)).masked.pixelValues, (await tuneBatches({ ...options, seed: 4 })(0)).masked.pixelValues);
});

test("frames of different sizes give as many tiles each as the smallest has", async () => {
  const mixed = [frame(0, "good", 150, 100), frame(1, "bad", 300, 220)];
  const { frames: whole } = await tuneBatches({ config, preprocess, frames: mixed, replay, sizes, seed: 6 })(0);
  assert.ok(whole.tiles >= 1 && whole.tiles <= tilePlaces({ width: 150, height: 100 }, preprocess).length);
  assert.equal(whole.pixelValues.length, whole.count * whole.tiles * 3 * SIDE * SIDE);
});

test("frames smaller than a tile give no crops, and are learned from as wholes", async () => {
  const small = [frame(0, "good", 60, 60), frame(1, "bad", 60, 60)];
  const { masked, frames: whole } = await tuneBatches({ config, preprocess, frames: small, replay, sizes, seed: 7 })(0);
  assert.deepEqual([masked.crops, masked.size, whole.tiles], [0, sizes.replay, 1]);
});

test("without labels of both kinds there is one clear line that counts them", () => {
  const good = frames.filter(({ label }) => label === "good");
  const start = (some: LabelledFrame[]) => () => tuneBatches({ config, preprocess, frames: some, replay, sizes, seed: 1 });
  assert.throws(start(good), { code: "too-few-labels", message: /5 good and 0 bad are labelled/ });
  assert.throws(start([]), { code: "too-few-labels", message: /0 good and 0 bad/ });
});

type Next = ReturnType<typeof tuneBatches>;

/** Mean of the first plane from there on, in [0, 255]. */
function meanOf(pixelValues: Float32Array, at: number): number {
  return toByte(pixelValues.subarray(at, at + SIDE * SIDE).reduce((sum, value) => sum + value, 0) / SIDE ** 2);
}

function toByte(value: number): number {
  return (value * config.preprocess.std[0] + config.preprocess.mean[0]) * 255;
}
