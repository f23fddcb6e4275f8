/** The bank of good patches: a coreset as NumPy picks it (test/fixtures/inspector/make_coreset.py), and banks of many frames. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { coreset, keepTokens, type Nearest, teachBank } from "../../packages/inspector/src/memory-bank.ts";
import { windowMeans } from "../../packages/inspector/src/token-window.ts";
import { draw } from "../onnx/seeded-weights.ts";

type Case = { rows: number[]; dim: number; limit: number };
const SCRIPT = join(import.meta.dirname, "../fixtures/inspector/make_coreset.py");
const golden = JSON.parse(readFileSync(fixture("coreset.json"), "utf8")) as (Case & { picks: number[] })[];
const PYTHON = process.env["KENPIN_PYTHON"];

test("the coreset is the reference's, pick by pick", () => {
  for (const { picks, ...one } of golden) agree(one, picks);
});

test("the same on patches nobody has seen", { skip: PYTHON ? false : "KENPIN_PYTHON names no Python with NumPy" }, () => {
  const dim = 24;
  const one = { rows: [...unitRows(`live ${process.pid} ${process.hrtime.bigint()}`, 700, dim)], dim, limit: 200 };
  const answer = spawnSync(PYTHON as string, [SCRIPT, "--live"], { input: JSON.stringify(one), encoding: "utf8" });
  assert.equal(answer.status, 0, answer.stderr);
  agree(one, JSON.parse(answer.stdout) as number[]);
});

test("a bank as large as there are patches holds them all; a small one holds what is rare; none holds nothing", () => {
  const dim = 4;
  const few = unitRows("few", 5, dim);
  assert.deepEqual(sorted(coreset(few, dim, 100), dim), sorted(few, dim));
  const rare = Float32Array.of(0, 0, 0, -1);
  const crowd = unitRows("crowd", 500, dim).map((value, i) => (i % dim === 3 ? Math.abs(value) + 2 : value));
  const many = new Float32Array([...normalised(crowd, dim), ...rare]);
  assert.ok(sorted(coreset(many, dim, 2), dim).some((row) => row.join() === "0,0,0,-1"));
  assert.equal(coreset(new Float32Array(), dim).length, 0);
});

test("patches that are all the same are picked once each, not one of them again and again", () => {
  const same = new Float32Array([1, 0, 1, 0, 1, 0, 0, 1]);
  assert.deepEqual(sorted(coreset(same, 2, 4), 2), sorted(same, 2));
});

test("of a large frame an even draw is kept, in 8 bits within a hundredth, and the same every time", () => {
  const [count, dim] = [5000, 32];
  const tokens = unitRows("large", count, dim);
  const kept = keepTokens(tokens, dim);
  assert.equal(kept.length, 1024 * dim);
  assert.deepEqual(keepTokens(tokens, dim), kept);
  const quarters = [0, 0, 0, 0];
  for (let row = 0; row < 1024; row++) {
    const length = Math.hypot(...kept.subarray(row * dim, (row + 1) * dim));
    const unit = Float32Array.from(kept.subarray(row * dim, (row + 1) * dim), (value) => value / length);
    const near = nearestTo(tokens, unit, dim);
    assert.ok(near.distance < 1e-3, `${near.distance}`);
    quarters[Math.floor((4 * near.at) / count)] = (quarters[Math.floor((4 * near.at) / count)] as number) + 1;
  }
  for (const quarter of quarters) assert.ok(quarter > 200 && quarter < 312, `${quarters}`);
});

test("a good frame is measured against a bank without it, a bad one against the bank, and ten thousand patches make 768 rows", async () => {
  const dim = 8;
  const good = Array.from({ length: 11 }, (_, i) => ({ tokens: keepTokens(unitRows(`good ${i}`, 1000, dim), dim), isGood: true }));
  const alien = new Float32Array(1000 * dim).map((_, i) => (i % dim === 0 ? 1 : 0));
  const bad = { tokens: keepTokens(alien, dim), isGood: false };
  const { bank, outside } = await teachBank([...good, bad], { dim, nearest: nearestHere(dim) });
  assert.equal(bank.length, 768 * dim);
  for (const distances of outside.slice(0, 11)) assert.ok(Math.min(...distances) > 0 && mean(distances) > 1e-3, "no frame finds itself");
  const again = await teachBank(good, { dim, nearest: nearestHere(dim) });
  assert.deepEqual(again.bank, bank, "a bad frame changes nothing in the bank");
  assert.deepEqual(again.outside, outside.slice(0, 11));
});

test("a window's token is the mean of its neighbours', of length 1, cut at the tile's edge", () => {
  const [grid, dim] = [4, 3];
  const tokens = unitRows("window", 2 * grid * grid, dim);
  assert.equal(windowMeans(tokens, dim, { grid, window: 1 }), tokens);
  for (const window of [3, 5]) {
    const out = windowMeans(tokens, dim, { grid, window });
    const reach = (window - 1) / 2;
    for (let patch = 0; patch < 2 * grid * grid; patch++) {
      const [tile, y, x] = [Math.floor(patch / 16), Math.floor(patch / grid) % grid, patch % grid];
      const sum = new Float32Array(dim);
      for (let j = Math.max(0, y - reach); j <= Math.min(grid - 1, y + reach); j++)
        for (let i = Math.max(0, x - reach); i <= Math.min(grid - 1, x + reach); i++)
          for (let k = 0; k < dim; k++) sum[k] = (sum[k] as number) + (tokens[(tile * 16 + j * grid + i) * dim + k] as number);
      const length = Math.hypot(...sum);
      for (let k = 0; k < dim; k++) assert.ok(Math.abs((out[patch * dim + k] as number) - (sum[k] as number) / length) < 1e-5);
    }
  }
});

function fixture(name: string): string {
  return join(import.meta.dirname, "../fixtures/inspector", name);
}

function mean(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function agree({ rows, dim, limit }: Case, picks: number[]): void {
  const tokens = Float32Array.from(rows);
  const bank = coreset(tokens, dim, limit);
  const expected = picks.flatMap((row) => [...tokens.subarray(row * dim, (row + 1) * dim)]);
  assert.deepEqual([...bank], expected);
}

function nearestHere(dim: number): Nearest {
  return async (tokens, bank) =>
    Float32Array.from({ length: tokens.length / dim }, (_, i) => nearestTo(bank, tokens.subarray(i * dim, (i + 1) * dim), dim).distance);
}

function nearestTo(rows: Float32Array, row: Float32Array, dim: number): { at: number; distance: number } {
  let best = { at: -1, distance: 3 };
  for (let i = 0; i < rows.length / dim; i++) {
    let dot = 0;
    for (let k = 0; k < dim; k++) dot += (rows[i * dim + k] as number) * (row[k] as number);
    if (1 - dot < best.distance) best = { at: i, distance: 1 - dot };
  }
  return best;
}

function unitRows(name: string, count: number, dim: number): Float32Array {
  return normalised(Float32Array.from(draw(name, count * dim)), dim);
}

function normalised(rows: Float32Array, dim: number): Float32Array {
  return rows.map((value, i) => value / Math.hypot(...rows.subarray(i - (i % dim), i - (i % dim) + dim)));
}

function sorted(rows: Float32Array, dim: number): number[][] {
  const split = Array.from({ length: rows.length / dim }, (_, i) => [...rows.subarray(i * dim, (i + 1) * dim)]);
  return split.sort((a, b) => (a.join() < b.join() ? -1 : 1));
}
