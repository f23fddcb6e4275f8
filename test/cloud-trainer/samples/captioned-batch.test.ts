/** Batches of captioned pictures: what is true of what, which patches stay, and that a draw's number alone decides. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { modelConfig } from "@kenpin/clip";
import { surfacePool } from "../../../cloud-trainer/src/samples/batch.ts";
import {
  type CaptionedBatch,
  captionedBatches,
  captionedSetSource,
  joinBatches,
  surfaceSource,
} from "../../../cloud-trainer/src/samples/captioned-batch.ts";

const config = modelConfig("kenpin-s-8");
const PATCHES = 100;
const pool = surfacePool(3, 80, 40, () => undefined);
const none = { ratio: 0, unmaskedTail: 0 };

/** The whole table of a batch, in place of the function that gives it in parts. */
function whole({ relations, ...batch }: CaptionedBatch) {
  return { ...batch, ...relations({ from: 0, to: batch.size }, { from: 0, to: batch.captions.length }) };
}

test("the same draw gives the same batch, whichever was asked for first, and an epoch shows every surface once", async () => {
  const next = captionedBatches([surfaceSource(pool, config, 7)], { config, size: 10, dropout: none, seed: 7 });
  const again = captionedBatches([surfaceSource(pool, config, 7)], { config, size: 10, dropout: none, seed: 7 });
  const [first, second] = [whole(await next(0, 0)), whole(await next(1, 0))];
  assert.deepEqual([whole(await again(1, 0)), whole(await again(0, 0))], [second, first]);
  assert.notDeepEqual(first.pixelValues, second.pixelValues);
  const other = captionedBatches([surfaceSource(pool, config, 8)], { config, size: 10, dropout: none, seed: 8 });
  assert.notDeepEqual((await other(0, 0)).pixelValues, first.pixelValues);
});

test("patch dropout keeps the asked share of the patches, each with its own target, until the tail of the run", async () => {
  const dropout = { ratio: 0.5, unmaskedTail: 0.25 };
  const source = surfaceSource(pool, config, 7);
  const next = captionedBatches([source], { config, size: 8, dropout, seed: 7 });
  const [early, late] = [await next(2, 0.74), await next(2, 0.75)];
  assert.equal(late.kept, null);
  assert.equal(late.patches?.targets.length, 8 * PATCHES);
  const kept = early.kept as Int32Array;
  assert.equal(kept.length, 8 * 50);
  for (let i = 0; i < 8; i++) {
    const row = kept.subarray(i * 50, (i + 1) * 50);
    assert.equal(new Set(row).size, 50);
    assert.deepEqual(
      [...row],
      [...row].sort((a, b) => a - b),
    );
    for (const [k, patch] of row.entries()) {
      assert.equal(early.patches?.targets[i * 50 + k], late.patches?.targets[i * PATCHES + patch]);
      assert.equal(early.patches?.weights[i * 50 + k], late.patches?.weights[i * PATCHES + patch]);
    }
  }
  assert.notDeepEqual(kept.subarray(0, 50), kept.subarray(50, 100), "each picture has a choice of its own");
});

test("the table of a batch is the same whole and in parts", async () => {
  const batch = await surfaceSource(pool, config, 7)(0, 6);
  const { positive, blocked, captions } = whole(batch);
  const part = batch.relations({ from: 2, to: 5 }, { from: 1, to: captions.length });
  const width = captions.length - 1;
  for (let at = 0; at < part.positive.length; at++) {
    const from = (2 + Math.floor(at / width)) * captions.length + 1 + (at % width);
    assert.deepEqual([part.positive[at], part.blocked[at]], [positive[from], blocked[from]]);
  }
});

test("pictures of one caption share it, and another caption of the same picture is blocked", async () => {
  const picture = (captions: string[]) => ({ captions, pixelValues: async () => new Float32Array(3 * 80 * 80) });
  const pictures = [picture(["a bolt"]), picture(["a bolt"]), picture(["a nut", "a bolt"])];
  const batch = whole(await captionedSetSource(pictures, config, 1)(0, 3));
  const bolt = batch.captions.indexOf("a bolt");
  const nut = batch.captions.indexOf("a nut");
  for (let i = 0; i < 3; i++) {
    const row = batch.positive.subarray(i * batch.captions.length, (i + 1) * batch.captions.length);
    assert.equal(row.reduce((sum, value) => sum + value, 0), 1, "one caption was drawn for each"); // biome-ignore format: one line
  }
  if (nut >= 0) {
    const owner = [...batch.positive.keys()].find((at) => at % batch.captions.length === nut && batch.positive[at] === 1) as number;
    assert.equal(batch.blocked[Math.floor(owner / batch.captions.length) * batch.captions.length + bolt], 1);
  }
});

test("in a batch of two kinds nobody can say whether a caption of one is true of the other: all such pairs are blocked", async () => {
  const picture = { captions: ["a bolt"], pixelValues: async () => new Float32Array(3 * 80 * 80).fill(0.5) };
  const [first, second] = [await surfaceSource(pool, config, 7)(0, 4), await captionedSetSource([picture], config, 1)(0, 2)];
  const [a, both] = [whole(first), whole(joinBatches(first, second, PATCHES))];
  const width = a.captions.length + 1;
  assert.deepEqual([both.size, both.captions.length], [6, width]);
  for (let i = 0; i < 6; i++) {
    for (let j = 0; j < width; j++) {
      const [across, at] = [i < 4 !== j < width - 1, i * width + j];
      if (across) assert.deepEqual([both.positive[at], both.blocked[at]], [0, 1]);
      else if (i < 4) assert.equal(both.positive[at], a.positive[i * a.captions.length + j]);
      else assert.deepEqual([both.positive[at], both.blocked[at]], [1, 0]);
    }
  }
  assert.deepEqual([...(both.patches?.weights.subarray(4 * PATCHES) ?? [])], new Array(2 * PATCHES).fill(0), "no mask is known");
  assert.equal(both.pixelValues.at(-1), 0.5);
});
