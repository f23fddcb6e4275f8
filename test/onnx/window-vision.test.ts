/**
 * WinCLIP's windows by the written graph against timm's own towers told which patches to keep, for every model's kind, and the
 * published formulas against plain loops. The script that made the answers is test/fixtures/clip/make_windows.py.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type ModelConfig, parseModelConfig } from "@kenpin/clip";
import { acrossScales, badShares, harmonicMap, pictureScore, WINDOW_SIDES, windowsOf, wordLogits } from "@kenpin/inspector";
import { visionGraph, windowVisionGraph } from "@kenpin/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { draw, seededTensors } from "./seeded-weights.ts";

type Golden = {
  config: ModelConfig;
  class_score: number;
  windows: Record<string, number[]>;
  embeds: Record<string, number[]>;
  map: number[];
  score: number;
};

const FOLDER = join(import.meta.dirname, "../fixtures/clip");
const PYTHON = process.env["KENPIN_PYTHON"];
const LOGIT_SCALE = 1 / 0.07;
const golden = JSON.parse(readFileSync(join(FOLDER, "windows.json"), "utf8")) as Golden[];

for (const entry of golden) {
  test(`windows of ${entry.config.name}'s kind, their maps and scores are those of timm and of the paper`, () =>
    assertGolden(entry, "windows"));
}

test("the same for pixels nobody has seen", {
  skip: PYTHON ? false : "KENPIN_PYTHON names no Python with timm and open_clip",
}, async () => {
  const name = `live-${process.pid}`;
  const options = { cwd: FOLDER, encoding: "utf8", env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" } } as const;
  const found = JSON.parse(execFileSync(PYTHON as string, ["make_windows.py", "--pixels", name], options)) as Golden[];
  assert.equal(found.length, golden.length);
  for (const entry of found) await assertGolden(entry, name);
});

test("a window of all patches is the whole picture, and a window's place matters", async () => {
  const { config, weights, pixels, session } = await open(golden[3] as Golden, "windows");
  const grid = config.image.size / config.image.patch;
  const whole = await InferenceSession.create(visionGraph({ config, weights, patchEmbeds: false }));
  const image = (await whole.run({ pixel_values: pixels }))["image_embeds"]?.data as Float32Array;
  const all = await embed(session, pixels, [Array.from({ length: grid * grid }, (_, i) => i)]);
  for (const [i, value] of image.entries()) assert.ok(Math.abs(value - (all[i] as number)) < 1e-5);
  const flat = new Tensor("float32", new Float32Array(pixels.data.length), pixels.dims);
  const [corner, middle] = [await embed(session, flat, [[0, 1]]), await embed(session, flat, [[5, 6]])];
  assert.ok(
    corner.some((value, i) => Math.abs(value - (middle[i] as number)) > 1e-3),
    "the same pixels elsewhere are embedded otherwise",
  );
});

test("windows cover a grid at every place, and a patch's mean is harmonic", () => {
  assert.deepEqual(windowsOf(3, 2), [
    [0, 1, 3, 4],
    [1, 2, 4, 5],
    [3, 4, 6, 7],
    [4, 5, 7, 8],
  ]);
  assert.equal(windowsOf(10, 3).length, 64);
  assert.deepEqual(windowsOf(2, 3), []);
  const map = harmonicMap(Float64Array.of(1, 0.5, 0.5, 0.25), windowsOf(3, 2), 9);
  const expected = [1, 2 / 3, 0.5, 2 / 3, 4 / 9, 1 / 3, 0.5, 1 / 3, 0.25];
  for (const [i, value] of expected.entries()) assert.ok(Math.abs(value - (map[i] as number)) < 1e-12);
  const both = acrossScales([Float64Array.of(0.5, 1), Float64Array.of(0.25, 1)], 0.5);
  assert.deepEqual([...both], [3 / 8, 3 / 4]);
  assert.equal(pictureScore(0.5, both), 0.625);
});

async function assertGolden(entry: Golden, pixelsName: string): Promise<void> {
  const { config, weights, pixels, session } = await open(entry, pixelsName);
  const grid = config.image.size / config.image.patch;
  const difference = differenceOf(config.embedDim);
  const share = (embeds: Float32Array) => badShares(wordLogits(embeds, { difference, logitScale: LOGIT_SCALE }));
  const whole = await InferenceSession.create(visionGraph({ config, weights, patchEmbeds: false }));
  const image = (await whole.run({ pixel_values: pixels }))["image_embeds"]?.data as Float32Array;
  const classScore = share(image)[0] as number;
  near([classScore], [entry.class_score], 1e-4);
  const maps: Float64Array[] = [];
  for (const side of WINDOW_SIDES) {
    const windows = windowsOf(grid, side);
    const embeds = await embed(session, pixels, windows);
    near(embeds, entry.embeds[side] as number[], 1e-4);
    maps.push(harmonicMap(share(embeds), windows, grid * grid));
    near(maps.at(-1) as Float64Array, entry.windows[side] as number[], 2e-4);
  }
  const map = acrossScales(maps, classScore);
  near(map, entry.map, 2e-4);
  near([pictureScore(classScore, map)], [entry.score], 2e-4);
}

async function open(entry: Golden, pixelsName: string) {
  const config = parseModelConfig(entry.config, entry.config.name);
  const weights = seededTensors(config);
  const side = config.image.size;
  const values = Float32Array.from(draw(pixelsName, 3 * side * side), (value) => 2 * value);
  const session = await InferenceSession.create(windowVisionGraph({ config, weights }));
  return { config, weights, session, pixels: new Tensor("float32", values, [1, 3, side, side]) };
}

async function embed(session: InferenceSession, pixels: Tensor, windows: number[][]): Promise<Float32Array> {
  const kept = BigInt64Array.from(windows.flat(), BigInt);
  const feeds = { pixel_values: pixels, windows: new Tensor("int64", kept, [windows.length, (windows[0] as number[]).length]) };
  return (await session.run(feeds))["window_embeds"]?.data as Float32Array;
}

function differenceOf(dim: number): Float32Array {
  const [good, bad] = ["good", "bad"].map((name) => {
    const row = draw(name, dim);
    const length = Math.hypot(...row);
    return row.map((value) => value / length);
  }) as [Float64Array, Float64Array];
  return Float32Array.from(bad, (value, i) => value - (good[i] as number));
}

function near(actual: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of expected.entries()) {
    assert.ok(Math.abs((actual[i] as number) - value) <= tolerance, `at ${i}: ${actual[i]}, expected ${value}`);
  }
}
