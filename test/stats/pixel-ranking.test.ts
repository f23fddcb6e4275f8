/** What goldens cannot show of pixel metrics: memory that stays bounded, what ties and missing labels do, and wrong sizes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connectedRegions, createPixelRanking, createRandom, type PixelFrame } from "@kenpin/stats";

const SIDE = 200;

test("with far fewer steps than values the areas stay within a thousandth, and are called inexact", () => {
  const frames = drawFrames(12);
  const [exact, coarse] = [createPixelRanking(), createPixelRanking({ limit: 20_000 })];
  for (const frame of frames) {
    exact.add(frame);
    coarse.add(frame);
  }
  assert.ok(exact.isExact());
  assert.ok(!coarse.isExact());
  assert.ok(Math.abs(exact.auroc() - coarse.auroc()) < 1e-3, `${exact.auroc()} and ${coarse.auroc()}`);
  assert.ok(Math.abs(exact.perRegionOverlap() - coarse.perRegionOverlap()) < 1e-3);
  assert.ok(exact.auroc() > 0.7 && exact.auroc() < 0.99, "the frames are neither told apart nor noise");
});

test("asking in between changes nothing", () => {
  const frames = drawFrames(4);
  const [once, often] = [createPixelRanking(), createPixelRanking()];
  for (const frame of frames) {
    once.add(frame);
    often.add(frame);
    often.auroc();
  }
  assert.equal(often.auroc(), once.auroc());
  assert.equal(often.perRegionOverlap(), once.perRegionOverlap());
});

test("a map of one value is chance, a perfect one is whole, and −0 is 0", () => {
  const mask = Uint8Array.from([0, 0, 1, 1, 0, 0, 0, 0, 1]);
  const ranked = (values: number[]) => {
    const ranking = createPixelRanking();
    ranking.add({ values: Float32Array.from(values), mask, width: 3, height: 3 });
    return ranking;
  };
  const flat = ranked([0, -0, 0, -0, 0, 0, 0, 0, -0]);
  assert.equal(flat.auroc(), 0.5);
  assert.ok(Math.abs(flat.perRegionOverlap() - 0.15) < 1e-12, "a straight line to (1, 1), cut at 0.3");
  const perfect = ranked([-5, 0, 9, 8, 0, 0, -2, 0, 7]);
  assert.equal(perfect.auroc(), 1);
  assert.equal(perfect.perRegionOverlap(), 1);
});

test("without a defect or without a good pixel there is no figure; what is no map is refused", () => {
  const ranking = createPixelRanking();
  const frame: PixelFrame = { values: new Float32Array(4), mask: null, width: 2, height: 2 };
  ranking.add(frame);
  assert.ok(Number.isNaN(ranking.auroc()) && Number.isNaN(ranking.perRegionOverlap()));
  assert.throws(() => ranking.add({ ...frame, mask: new Uint8Array(6) }), /expected 2 × 2 pixels, got 4 values and a mask of 6/);
  assert.throws(() => ranking.add({ ...frame, values: Float32Array.of(0, Number.NaN, 0, 0) }), /NaN/);
});

test("pixels that touch by a corner are one region, across rows' ends they are two", () => {
  const { labels, sizes } = connectedRegions(Uint8Array.from([1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1]), 4, 3);
  assert.deepEqual([...labels], [1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 3]);
  assert.deepEqual(sizes, [2, 1, 1]);
});

function drawFrames(count: number): PixelFrame[] {
  const random = createRandom(5);
  return Array.from({ length: count }, (_, i) => {
    const mask = i === 0 ? null : new Uint8Array(SIDE * SIDE);
    const box = { x: random.int(SIDE - 30), y: random.int(SIDE - 30) };
    for (let y = box.y; y < box.y + 30; y++) mask?.fill(1, y * SIDE + box.x, y * SIDE + box.x + 30);
    const values = Float32Array.from({ length: SIDE * SIDE }, (_, at) => random.normal() + (mask?.[at] ? 1.2 : 0));
    return { values, mask, width: SIDE, height: SIDE };
  });
}
