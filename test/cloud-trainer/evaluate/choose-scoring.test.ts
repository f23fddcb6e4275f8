/** A scoring rule chosen on a few small generated surfaces, by a real small model; which patches a defect covers. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Scoring } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { chooseScoring } from "../../../cloud-trainer/src/evaluate/choose-scoring.ts";
import { patchLabels } from "../../../cloud-trainer/src/evaluate/patch-labels.ts";
import { drawEpisode, type Episode } from "../../../cloud-trainer/src/samples/pictures.ts";
import { stageTestBundle } from "../../support/staged-bundle.ts";

test("the rule is one a device takes, is the same every time, and says how well it ranks", async () => {
  const stagedDir = await mkdtemp(join(tmpdir(), "kenpin-choose-"));
  try {
    const staged = await stageTestBundle(stagedDir);
    const random = createRandom(5);
    const episodes: Episode[] = [];
    for (const changed of [false, true]) episodes.push(await drawEpisode(random, { sidePx: 64, references: 5, frames: 10, changed }));
    const progress: number[] = [];
    const place = { stagedDir, preprocess: staged.preprocess, scoring: staged.scoring };
    const first = await chooseScoring(place, episodes, (done) => progress.push(done));
    assert.deepEqual(Scoring.parse(first.scoring), first.scoring);
    assert.ok(first.scoring.recentreText && first.scoring.textScale > 0 && first.scoring.patches.referenceScale > 0);
    assert.equal(first.figures["frames"], 20);
    for (const name of ["wordsAuroc", "referencesAuroc", "patchesWordsAuroc", "patchesAuroc"]) {
      assert.ok((first.figures[name] as number) >= 0 && (first.figures[name] as number) <= 1, name);
    }
    assert.deepEqual(progress, [0, 1, 2]);
    assert.deepEqual(await chooseScoring(place, episodes, () => {}), first);
  } finally {
    await rm(stagedDir, { recursive: true, force: true });
  }
});

test("a patch is defective where the mask covers enough of it to be seen, wherever its tile lies", () => {
  const mask = new Float32Array(20 * 20);
  for (let y = 12; y < 16; y++) for (let x = 9; x < 11; x++) mask[y * 20 + x] = 1;
  const places = [
    { x: 0, y: 4 },
    { x: 4, y: 4 },
  ];
  const tiles = { pixelValues: new Float32Array(), count: 2, places, width: 20, height: 20 };
  // Patches of 8 pixels in tiles of 16: the spot is 2 × 4 pixels at (9, 12), an eighth of one patch
  assert.deepEqual(patchLabels(mask, tiles, 16, 8), [0, 0, 0, 0, 0, 0, 0, 0]);
  for (let y = 12; y < 16; y++) mask[y * 20 + 11] = 1;
  assert.deepEqual(patchLabels(mask, tiles, 16, 8), [0, 0, 0, 1, 0, 0, 1, 0]);
});
