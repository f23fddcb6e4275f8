/** The gate before a model in fewer bits takes the float one's place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { shortfallsOf } from "../../../cloud-trainer/src/quantize/gate.ts";

const tower = { choice: null, inFloat: [], tried: [], bytes: { before: 4, after: 1, ratio: 0.25 }, ms: { before: 2, after: 1 } };
const fine = { imageMean: 0.9995, imageLeast: 0.999, patchMean: 0.9994 };

function report(changes: {
  pixel?: { before: number; after: number } | null;
  patchMean?: number;
  image?: { before: number; after: number };
}) {
  const { pixel = { before: 0.9, after: 0.897 }, patchMean = fine.patchMean, image = { before: 0.95, after: 0.948 } } = changes;
  const auroc = { pictures: 10, image, pixel };
  const vision = {
    ...tower,
    cosine: { ...fine, patchMean },
    cosineGenerated: fine,
    ranks: { scores: 1, sameClosestPrompt: 1 },
    auroc,
    layers: [],
  };
  return shortfallsOf({ vision, text: null });
}

test("a model within the limits passes, one whose map, picture scores or patches lose too much is told why", () => {
  assert.deepEqual(report({}), []);
  assert.deepEqual(report({ pixel: null }), []);
  assert.match(report({ pixel: { before: 0.9, after: 0.89 } }).join(), /^pixel AUROC 0\.9000 → 0\.8900/);
  assert.match(report({ image: { before: 0.95, after: 0.94 } }).join(), /^image AUROC/);
  assert.match(report({ patchMean: 0.99 }).join(), /^patches: cosine to float 0\.99000/);
});

test("what could not be measured is no pass", () => {
  assert.equal(report({ patchMean: Number.NaN, pixel: { before: 0.9, after: Number.NaN } }).length, 2);
});
