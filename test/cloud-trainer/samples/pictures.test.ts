/** Episodes a scoring rule is chosen on: one material, good references, then frames that are half bad. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom } from "@kenpin/stats";
import sharp from "sharp";
import { drawEpisode } from "../../../cloud-trainer/src/samples/pictures.ts";
import { MATERIALS } from "../../../cloud-trainer/src/samples/surface.ts";

const OPTIONS = { sidePx: 100, references: 4, frames: 8 };

test("an episode holds what was asked for, as pictures of that size, no two alike", async () => {
  const { material, references, frames } = await drawEpisode(createRandom(1), OPTIONS);
  assert.ok(MATERIALS.some(({ name }) => name === material));
  assert.deepEqual([references.length, frames.length], [4, 8]);
  const all = [...references, ...frames.map(({ png }) => png)];
  assert.equal(new Set(all.map((png) => Buffer.from(png).toString("base64"))).size, 12);
  for (const png of all) {
    const { width, height, channels } = await sharp(png).metadata();
    assert.deepEqual([width, height, channels], [100, 100, 3]);
  }
});

test("every other frame is bad, but for those whose defect could not be seen, and only the others are good", async () => {
  let bad = 0;
  for (let seed = 0; seed < 6; seed++) {
    const { frames } = await drawEpisode(createRandom(seed), OPTIONS);
    for (const [i, frame] of frames.entries()) if (i % 2 === 0) assert.equal(frame.bad, false);
    bad += frames.filter((frame) => frame.bad).length;
  }
  assert.ok(bad >= 16 && bad <= 24, `${bad} of 24`);
});

/** Light falls differently on every frame, so within an episode tones differ a little. */
test("good frames of an episode have the references' look, frames of another episode do not", async () => {
  const toneOf = async (png: Uint8Array) => {
    const { channels } = await sharp(png).stats();
    return channels.map(({ mean }) => mean);
  };
  const apart = (a: number[], b: number[]) => Math.hypot(...a.map((value, i) => value - (b[i] as number)));
  let [within, between] = [0, 0];
  for (let seed = 0; seed < 8; seed++) {
    const [one, other] = [await drawEpisode(createRandom(seed), OPTIONS), await drawEpisode(createRandom(1000 + seed), OPTIONS)];
    const reference = await toneOf(one.references[0] as Uint8Array);
    within += apart(reference, await toneOf(one.frames[0]?.png as Uint8Array));
    between += apart(reference, await toneOf(other.frames[0]?.png as Uint8Array));
  }
  assert.ok(within * 2 < between, `${within} within, ${between} between`);
});

test("the same seed draws the same bytes", async () => {
  assert.deepEqual(await drawEpisode(createRandom(7), OPTIONS), await drawEpisode(createRandom(7), OPTIONS));
});
