/** From similarities to one score, on numbers small enough to check by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { closestPrompt, fuse, meanOfTop, momentsOf, promptDirections, rawText, wordLogits } from "@kenpin/inspector";
import type { PromptSet, Scoring } from "@kenpin/schema";
import { quantile } from "@kenpin/stats";
import fc from "fast-check";
import { patchHeat, referenceStats } from "../../packages/inspector/src/score.ts";

const SCORING: Scoring = {
  topRatio: 0.25,
  imageWeight: 0.5,
  textScale: 2,
  textBias: -1,
  bankWeight: 0.25,
  bankScale: 0.5,
  bankCut: 3,
  recentreText: false,
  tokenWindow: 1,
  patches: { textScale: 1, textBias: 0, referenceScale: 1, referenceCut: 2 },
};

test("the mean of the highest share of the values, of one at least, whatever their order", () => {
  const values = Float32Array.of(4, -1, 3, 0, 8, 2, 1, -5);
  assert.equal(meanOfTop(values, 0.25), 6);
  assert.equal(meanOfTop(values, 1), 1.5);
  assert.equal(meanOfTop(values, 0.001), 8);
  assert.deepEqual([...values], [4, -1, 3, 0, 8, 2, 1, -5], "left as they were");
  const some = fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(some, fc.double({ min: 0.01, max: 1, noNaN: true }), (numbers, ratio) => {
      const top = meanOfTop(Float32Array.from(numbers), ratio);
      assert.ok(top <= Math.max(...numbers) && top >= quantile(numbers, 0) && top >= meanOfTop(Float32Array.from(numbers), 1) - 1e-5);
    }),
  );
});

test("words point from the mean good word to the mean bad one, each of length 1, however many there are of each", () => {
  const prompts: PromptSet = {
    schemaVersion: 1,
    good: ["even"],
    bad: ["torn", "a hole"],
    dim: 3,
    embeddings: [1, 0, 0, 0, 1, 0, 0, 0, 1],
    logitScale: 10,
  };
  const directions = promptDirections(prompts);
  const half = Math.SQRT1_2;
  for (const [i, expected] of [-1, half, half].entries()) near(directions.difference[i] as number, expected);
  const embeds = Float32Array.of(1, 0, 0, 0, 1, 0, 0, half, half);
  const logits = wordLogits(embeds, directions);
  for (const [i, expected] of [-10, 10 * half, 10].entries()) near(logits[i] as number, expected);
});

test("a word that weighs more pulls its side's direction towards itself", () => {
  const prompts: PromptSet = {
    schemaVersion: 1,
    good: ["even"],
    bad: ["torn", "a hole"],
    weights: [1, 3, 4],
    dim: 3,
    embeddings: [1, 0, 0, 0, 1, 0, 0, 0, 1],
    logitScale: 10,
  };
  const { difference } = promptDirections(prompts);
  for (const [i, expected] of [-1, 0.6, 0.8].entries()) near(difference[i] as number, expected);
  assert.deepEqual(promptDirections({ ...prompts, weights: [5, 6, 8] }).difference, difference, "only their ratio within a side counts");
});

test("a frame's raw text value mixes its hottest patches with its tiles' mean", () => {
  const [patches, images] = [Float32Array.of(0, 4, 8, 0), Float32Array.of(1, 3)];
  assert.equal(rawText(patches, images, SCORING), 0.5 * 8 + 0.5 * 2);
  assert.equal(rawText(patches, images, { ...SCORING, imageWeight: 0 }), 8);
  assert.equal(rawText(patches, images, { ...SCORING, imageWeight: 1 }), 2);
});

test("with words alone the score is the sigmoid of scale times text plus bias, and names no deviations", () => {
  assert.deepEqual(fuse(0.5, null, null, SCORING), { logit: 0, score: 0.5, bankZ: null, referenceZ: null });
  near(fuse(1, null, null, SCORING).score, 1 / (1 + Math.exp(-1)));
  assert.ok(fuse(-1000, null, null, SCORING).score >= 0 && fuse(1000, null, null, SCORING).score <= 1);
});

const REFERENCES = {
  text: { mean: 1, deviation: 0.5 },
  patchTop: { mean: 2, deviation: 1 },
  bankMean: { mean: 0.2, deviation: 0.1 },
  bankTop: { mean: 0.4, deviation: 0.2 },
  away: { mean: 0.5, deviation: 2 },
};

test("with references the bank's larger deviation is mixed in by its weight", () => {
  // bank: mean (0.4 − 0.2) / 0.1 = 2, top (1.4 − 0.4) / 0.2 = 5, so z = 5; 0.75 · (2 · 1 − 1) + 0.25 · 0.5 · (5 − 3) = 1
  const { score, bankZ, referenceZ } = fuse(1, { mean: 0.4, top: 1.4 }, REFERENCES, SCORING);
  near(bankZ as number, 5);
  near(score, 1 / (1 + Math.exp(-1)));
  assert.equal(referenceZ, null);
  near(fuse(1, { mean: 0.9, top: 0.4 }, REFERENCES, SCORING).bankZ as number, 7);
});

test("with the text recentred both are deviations of the references, mixed, and standardised again", () => {
  const recentred = { ...SCORING, recentreText: true };
  // text (2 − 1) / 0.5 = 2, bank 5: 0.75 · 2 + 0.25 · 5 = 2.75; (2.75 − 0.5) / 2 = 1.125; 0.5 · (1.125 − 3)
  const { score, bankZ, referenceZ } = fuse(2, { mean: 0.4, top: 1.4 }, REFERENCES, recentred);
  near(bankZ as number, 5);
  near(referenceZ as number, 1.125);
  near(score, 1 / (1 + Math.exp(-0.5 * (1.125 - 3))));
  // what shifts every frame of a site alike, the references too, decides nothing
  const shifted = { ...REFERENCES, text: { mean: 11, deviation: 0.5 } };
  near(fuse(12, { mean: 0.4, top: 1.4 }, shifted, recentred).score, score);
});

test("a frame farther from the references never scores lower", () => {
  const value = fc.double({ min: -20, max: 20, noNaN: true });
  fc.assert(
    fc.property(value, value, fc.nat(10), fc.nat(10), fc.boolean(), (text, distance, more, further, recentreText) => {
      const scoring = { ...SCORING, recentreText };
      const near = fuse(text, { mean: distance, top: distance }, REFERENCES, scoring).score;
      const far = fuse(text + more, { mean: distance + further, top: distance + further }, REFERENCES, scoring).score;
      assert.ok(far >= near && near >= 0 && far <= 1);
    }),
  );
});

test("references that are all the same make nothing infinite", () => {
  const same = { mean: 1, deviation: 0 };
  const references = { text: same, patchTop: same, bankMean: same, bankTop: same, away: { mean: 0, deviation: 0 } };
  for (const recentreText of [true, false]) {
    const { score } = fuse(1, { mean: 1, top: 1 }, references, { ...SCORING, recentreText });
    assert.ok(score >= 0 && score <= 1);
  }
  assert.deepEqual(momentsOf([3]), { mean: 3, deviation: 0 });
  assert.deepEqual(momentsOf([1, 3]), { mean: 2, deviation: Math.SQRT2 });
});

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-6, `${actual}, expected ${expected}`);
}

test("the closest words are those whose embedding points the same way, whichever side they are on", () => {
  const prompts: PromptSet = {
    schemaVersion: 1,
    good: ["even cloth"],
    bad: ["a hole", "a stain"],
    dim: 2,
    embeddings: [1, 0, 0, 1, -0.6, 0.8],
    logitScale: 10,
  };
  assert.equal(closestPrompt(prompts, Float32Array.from([0.9, 0.1])), "even cloth");
  assert.equal(closestPrompt(prompts, Float32Array.from([0.1, 0.9])), "a hole");
  assert.equal(closestPrompt(prompts, Float32Array.from([-0.7, 0.7])), "a stain");
  const asWritten = { ...prompts, words: ["均一な布", "穴", "シミ"] };
  assert.equal(closestPrompt(asWritten, Float32Array.from([0.1, 0.9])), "穴");
});

test("a patch's heat is its words' logit alone, and with references words and bank in the references' deviations", () => {
  const scoring: Scoring = { ...SCORING, patches: { textScale: 2, textBias: -1, referenceScale: 0.5, referenceCut: 3 } };
  assert.deepEqual([...patchHeat(Float32Array.of(0, 2), null, null, scoring)], [-1, 3]);
  // words (3 − 2) / 1 = 1, bank (1.4 − 0.4) / 0.2 = 5; 0.5 · (5 − 3)
  near(patchHeat(Float32Array.of(3), Float32Array.of(1.4), REFERENCES, scoring)[0] as number, 1);
  // words (9 − 2) / 1 = 7, bank 0
  near(patchHeat(Float32Array.of(9), Float32Array.of(0.4), REFERENCES, scoring)[0] as number, 2);
});

test("the references' statistics are those of their own values, and of their mix", () => {
  const frames = [
    { text: 1, patchTop: 4, bank: { mean: 0.1, top: 0.3 } },
    { text: 3, patchTop: 6, bank: { mean: 0.3, top: 0.3 } },
  ];
  const stats = referenceStats(frames, SCORING);
  near(stats.text.mean, 2);
  near(stats.patchTop.deviation, Math.SQRT2);
  near(stats.bankMean.mean, 0.2);
  assert.equal(stats.bankTop.deviation, 0);
  // text ∓ 1/√2; bank max(∓1/√2, 0): away −0.75/√2 and 0.75/√2 + 0.25/√2
  near(stats.away.mean, (0.25 * Math.SQRT1_2) / 2);
});
