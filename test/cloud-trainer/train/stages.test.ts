/** The four stages on a small model: each learns what it is for, and leaves alone what is not its business. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Tensor } from "@kenpin/clip";
import { surfacePool } from "../../../cloud-trainer/src/samples/batch.ts";
import { captionedBatches, surfaceSource } from "../../../cloud-trainer/src/samples/captioned-batch.ts";
import { distillBatches, distillSet } from "../../../cloud-trainer/src/samples/distill-set.ts";
import { maskedBatches, targetLength } from "../../../cloud-trainer/src/samples/masked-batch.ts";
import { BASE_WORDS } from "../../../cloud-trainer/src/samples/words.ts";
import { type ContrastiveSetup, trainContrastive } from "../../../cloud-trainer/src/train/engines/tfjs/contrastive.ts";
import { createTeacher, trainDistill } from "../../../cloud-trainer/src/train/engines/tfjs/distill.ts";
import { trainMasked } from "../../../cloud-trainer/src/train/engines/tfjs/masked-modelling.ts";
import { tolerantCrossEntropy } from "../../../cloud-trainer/src/train/engines/tfjs/tune.ts";
import { drawTensors } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { ends, SMALL, smallSetup, smallTokenizer, tf } from "./small-model.ts";

const pool = surfacePool(5, SMALL.image.size, 96, () => undefined);
const source = { config: SMALL, frames: [], surfaces: pool, turn: true };
const PATCHES = (SMALL.image.size / SMALL.image.patch) ** 2;

test("masked image modelling learns to predict a teacher's features, and touches neither head nor text tower", async () => {
  const setup = smallSetup(60);
  const teacher = { config: SMALL, tensors: drawTensors(SMALL, 99) };
  const before = new Map([...teacher.tensors].map(([name, { data }]) => [name, data.slice()]));
  const batchAt = maskedBatches(source, { size: 16, ratio: 0.4, target: null, seed: 1 });
  const { tensors, extra } = await trainMasked({ ...setup, target: teacher, batchAt });
  const { first, last } = ends(setup.losses);
  assert.ok(last < 0.75 * first, `1 − cos went from ${first} to ${last}`);
  assert.deepEqual([...extra.keys()].sort(), ["mask_token", "mim_head.bias", "mim_head.weight"]);
  assert.deepEqual(movedTowers(setup.tensors, tensors), { image: true, head: false, text: false, scale: false });
  for (const [name, data] of before) assert.deepEqual(teacher.tensors.get(name)?.data, data, `the teacher's ${name}`);
});

for (const target of ["pixels", "hog"] as const) {
  test(`masked image modelling learns to predict ${target}, for comparison`, async () => {
    const setup = smallSetup(50);
    const batchAt = maskedBatches(source, { size: 16, ratio: 0.4, target, seed: 1 });
    await trainMasked({ ...setup, target: { length: targetLength(SMALL, target) }, batchAt });
    const { first, last } = ends(setup.losses);
    assert.ok(last < 0.9 * first, `squared error went from ${first} to ${last}`);
  });
}

for (const loss of ["clip", "siglip"] as const) {
  test(`contrastive training with the loss ${loss} learns which caption belongs to which surface`, async () => {
    const setup = smallSetup(60);
    const { tensors, extra } = await trainContrastive(contrastive({ ...setup, loss, patchLoss: 0 }, 24));
    const { first, last } = ends(setup.losses);
    assert.ok(last < first - 0.2, `${loss} went from ${first} to ${last}`);
    assert.deepEqual([...extra.keys()], loss === "siglip" ? ["logit_bias"] : []);
    assert.deepEqual(movedTowers(setup.tensors, tensors), { image: true, head: true, text: true, scale: true });
  });

  test(`micro-batches with the loss ${loss}, patch loss and patch dropout take the very steps of the whole batch`, async () => {
    const run = async (microBatch: number | null) => {
      const setup = smallSetup(3);
      const batch = { ...setup, loss, patchLoss: 2, microBatch };
      return { ...(await trainContrastive(contrastive(batch, 24, { ratio: 0.5, unmaskedTail: 0.4 }))), losses: setup.losses };
    };
    const [whole, parts] = [await run(null), await run(8)];
    for (const [i, value] of whole.losses.entries()) assert.ok(Math.abs((parts.losses[i] as number) - value) < 2e-5 * value, `step ${i}`);
    for (const [name, { data }] of whole.tensors) {
      const far = Math.max(...data.map((value, i) => Math.abs(value - (parts.tensors.get(name)?.data[i] as number))));
      assert.ok(far < 2e-4, `${name}: ${far}`);
    }
  });
}

test("a student comes to see what its teacher sees, under every term alone and all together", async () => {
  const teacher = { config: SMALL, tensors: drawTensors(SMALL, 99) };
  const set = distillSet(source, { views: 1, seed: 4 });
  const tower = await createTeacher(teacher);
  const seen = tower.image(set.pixelValues([...Array(set.count).keys()]));
  const text = (some: readonly string[]) => tower.text(some.map(smallTokenizer.encode));
  const embeds = { dim: SMALL.embedDim, ...seen, textEmbeds: text(set.captions) };
  const words = { good: text(BASE_WORDS.good), bad: text(BASE_WORDS.bad) };
  const none = { logits: 0, features: 0, interactive: 0, affinity: 0 };
  for (const terms of [
    { logits: 1 },
    { features: 1 },
    { interactive: 1 },
    { affinity: 1 },
    { logits: 1, features: 10, interactive: 0.1, affinity: 0.1 },
  ]) {
    const setup = smallSetup(50);
    const start = new Map(
      [...setup.tensors].map(([name, tensor]) => [name, name.startsWith("visual.") ? tensor : (teacher.tensors.get(name) as Tensor)]),
    );
    const batchAt = distillBatches(set, embeds, { config: SMALL, size: 24, seed: 1 });
    const outcome = await trainDistill({ ...setup, tensors: start, terms: { ...none, ...terms }, microBatch: null, words, batchAt });
    const { first, last } = ends(setup.losses);
    assert.ok(last < 0.8 * first, `${JSON.stringify(terms)}: ${first} to ${last}`);
    assert.deepEqual(movedTowers(start, outcome.tensors), { image: true, head: true, text: false, scale: false });
  }
  tower.dispose();
});

test("distillation in micro-batches takes the whole batch's steps", async () => {
  const teacher = { config: SMALL, tensors: drawTensors(SMALL, 99) };
  const set = distillSet(source, { views: 1, seed: 4 });
  const tower = await createTeacher(teacher);
  const seen = tower.image(set.pixelValues([...Array(set.count).keys()]));
  const text = (some: readonly string[]) => tower.text(some.map(smallTokenizer.encode));
  const embeds = { dim: SMALL.embedDim, ...seen, textEmbeds: text(set.captions) };
  const words = { good: text(BASE_WORDS.good), bad: text(BASE_WORDS.bad) };
  tower.dispose();
  const run = async (microBatch: number | null) => {
    const setup = smallSetup(6);
    const terms = { logits: 1, features: 10, interactive: 0.1, affinity: 0.1 };
    const batchAt = distillBatches(set, embeds, { config: SMALL, size: 24, seed: 1 });
    await trainDistill({ ...setup, terms, microBatch, words, batchAt });
    return setup.losses;
  };
  const [whole, parts] = [await run(null), await run(8)];
  assert.equal(parts.length, 6);
  for (const [i, value] of whole.entries()) assert.ok(Math.abs((parts[i] as number) - value) < 2e-5 * value, `step ${i}: ${parts[i]}`);
});

test("a student that sees exactly what its teacher sees has nothing left to learn from features, logits and affinity", async () => {
  const teacher = drawTensors(SMALL, 99);
  const set = distillSet(source, { views: 1, seed: 4 });
  const tower = await createTeacher({ config: SMALL, tensors: teacher });
  const seen = tower.image(set.pixelValues([...Array(set.count).keys()]));
  const text = (some: readonly string[]) => tower.text(some.map(smallTokenizer.encode));
  const setup = smallSetup(1);
  await trainDistill({
    ...setup,
    tensors: teacher,
    terms: { logits: 1, features: 1, interactive: 0, affinity: 1 },
    microBatch: null,
    words: { good: text(BASE_WORDS.good), bad: text(BASE_WORDS.bad) },
    batchAt: distillBatches(set, { dim: SMALL.embedDim, ...seen, textEmbeds: text(set.captions) }, { config: SMALL, size: 24, seed: 1 }),
  });
  assert.ok(Math.abs(setup.losses[0] as number) < 1e-4, `${setup.losses[0]}`);
  assert.equal(seen.patchEmbeds.length, set.count * PATCHES * SMALL.embedDim);
  tower.dispose();
});

test("a tolerant loss is cross-entropy at 0, and pulls a label it is sure is wrong by p^q of cross-entropy's pull", () => {
  const target = tf.tensor1d([1, 0, 1]);
  const slopes = (tolerance: number) => [
    ...tf
      .grad((logits) => tolerantCrossEntropy(tf, logits, target, tolerance))(tf.tensor1d([2, 1, -4]))
      .dataSync(),
  ];
  const [plain, tolerant] = [slopes(0), slopes(0.5)];
  const given = [1 / (1 + Math.exp(-2)), 1 / (1 + Math.exp(1)), 1 / (1 + Math.exp(4))];
  for (const [i, p] of given.entries()) {
    const pull = ((i === 1 ? 1 : -1) * (1 - p)) / 3;
    assert.ok(Math.abs((plain[i] as number) - pull) < 1e-6);
    assert.ok(Math.abs((tolerant[i] as number) - pull * p ** 0.5) < 1e-6);
  }
  const value = tolerantCrossEntropy(tf, tf.tensor1d([2, 1, -4]), target, 0.5).dataSync()[0] as number;
  const expected = given.reduce((sum, p) => sum + (1 - p ** 0.5) / 0.5, 0) / 3;
  assert.ok(Math.abs(value - expected) < 1e-6);
});

function contrastive(
  setup: Omit<ContrastiveSetup, "batchAt" | "tokenizer" | "words" | "microBatch"> & { microBatch?: number | null },
  size: number,
  dropout = { ratio: 0, unmaskedTail: 0 },
): ContrastiveSetup {
  const batchAt = captionedBatches([surfaceSource(pool, SMALL, 1)], { config: SMALL, size, dropout, seed: 1 });
  return { microBatch: null, ...setup, tokenizer: smallTokenizer, words: BASE_WORDS, batchAt };
}

function movedTowers(before: ReadonlyMap<string, Tensor>, now: ReadonlyMap<string, Tensor>) {
  const moved = (of: (name: string) => boolean) =>
    [...now].some(([name, { data }]) => of(name) && data.some((value, i) => value !== before.get(name)?.data[i]));
  const isHead = (name: string) => name.startsWith("visual.trunk.head.");
  return {
    image: moved((name) => name.startsWith("visual.") && !isHead(name)),
    head: moved(isHead),
    text: moved((name) => name.startsWith("text.")),
    scale: moved((name) => name === "logit_scale"),
  };
}
