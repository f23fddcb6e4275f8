/**
 * A batch in micro-batches against the same batch in one piece: real towers, patch dropout, captions that pictures share, a part
 * of the loss that each micro-batch has for itself. Equality at 1,024 pairs is part of test/bench/gradient-cache.ts too.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom } from "@kenpin/stats";
import { loadBackend, type Tensor, type Tensor2D } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { type CachedBatch, cachedGradients } from "../../../cloud-trainer/src/train/engines/tfjs/gradient-cache.ts";
import { createImageTower } from "../../../cloud-trainer/src/train/engines/tfjs/image-tower.ts";
import { weight } from "../../../cloud-trainer/src/train/engines/tfjs/layers.ts";
import { contrastiveLoss, sigmoidLoss } from "../../../cloud-trainer/src/train/engines/tfjs/losses.ts";
import { gradientsOf, type LossAndGradients } from "../../../cloud-trainer/src/train/engines/tfjs/objective.ts";
import { createTextTower } from "../../../cloud-trainer/src/train/engines/tfjs/text-tower.ts";
import { captionRelations } from "../../../cloud-trainer/src/train/engines/tfjs/tiled-loss.ts";
import { drawTensors, toWeights } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { smallConfig } from "./small-config.ts";

const { tf } = await loadBackend();
const CONFIG = smallConfig({ name: "small", image: { size: 24, depth: 2 } });
const PIXELS = 3 * CONFIG.image.size ** 2;
const [PAIRS, CAPTIONS, KEPT] = [45, 31, 5];
const END = 513;

/** 45 pictures with 31 different captions, five of nine patches kept of each, in micro-batches of uneven sizes. */
const images = data();
const SIZES = [7, 7, 1, 13, 7, 10];
const starts = SIZES.map((_, i) => SIZES.slice(0, i).reduce((sum, n) => sum + n, 0));

for (const kind of ["infonce", "sigmoid"] as const) {
  for (const tileRows of [1, 12, 1000]) {
    test(`${kind} in micro-batches, with tiles of ${tileRows} rows or more, has the gradient of the whole batch`, () => {
      const { weights, embedRows, whole } = model(kind);
      const cached = cachedGradients(tf, weights, {
        microBatches: SIZES.length,
        embed: (index) => embedRows(starts[index] as number, SIZES[index] as number, index < 3),
        ...settings(kind, weights),
        tileRows,
      });
      compare(cached, whole());
    });
  }
}

test("a frozen text tower is embedded once; the image tower's gradient is that of the whole batch", () => {
  const { weights, embedRows, whole, textRows } = model("infonce", (name) => !name.startsWith("text."));
  const known = tf.keep(textRows());
  const cached = cachedGradients(tf, weights, {
    microBatches: SIZES.length + 1,
    embed: (index) => {
      if (index === 0) return { image: null, text: known };
      return { ...embedRows(starts[index - 1] as number, SIZES[index - 1] as number, false), text: null };
    },
    ...settings("infonce", weights),
  });
  compare(cached, whole());
  assert.ok([...cached.gradients.keys()].every((name) => !name.startsWith("text.")));
  assert.equal(known.isDisposed, false);
});

test("dropping other patches the second time is another gradient, and the comparison sees it", () => {
  const { weights, embedRows, whole } = model("infonce");
  let calls = 0;
  const cached = cachedGradients(tf, weights, {
    microBatches: SIZES.length,
    embed: (index) => embedRows(starts[index] as number, SIZES[index] as number, index < 3, calls++ >= SIZES.length ? 1 : 0),
    ...settings("infonce", weights),
  });
  assert.throws(() => compare(cached, whole()), /^AssertionError.*: loss /);
});

test("only the loss and the gradients stay", () => {
  const { weights, embedRows } = model("sigmoid");
  const before = tf.memory().numTensors;
  const made = cachedGradients(tf, weights, {
    microBatches: 2,
    embed: (index) => embedRows(index * 10, 10, true),
    ...settings("sigmoid", weights),
    relations: captionRelations(tf, { images: images.captions.subarray(0, 20), texts: Int32Array.from({ length: CAPTIONS }, (_, i) => i) }),
  });
  assert.equal(tf.memory().numTensors, before + made.gradients.size + 1 + Object.keys(made.parts ?? {}).length);
});

function settings(kind: CachedBatch["kind"], weights: ReturnType<typeof toWeights>) {
  const texts = Int32Array.from({ length: CAPTIONS }, (_, i) => i);
  return {
    kind,
    relations: captionRelations(tf, { images: images.captions, texts }),
    scale: () => tf.exp(weight(weights, "logit_scale")),
    ...(kind === "sigmoid" ? { bias: () => weight(weights, "logit_bias") as Tensor } : {}),
  };
}

/** Towers with weights of their own, the whole batch at once, and any run of its pictures; texts come in the first three. */
function model(kind: CachedBatch["kind"], trained: (name: string) => boolean = () => true) {
  const weights = toWeights(tf, drawTensors(CONFIG, 3), trained);
  if (kind === "sigmoid") weights.set("logit_bias", tf.variable(tf.scalar(-4)));
  const [image, text] = [createImageTower(tf, CONFIG), createTextTower(tf, CONFIG)];
  const side = CONFIG.image.size;
  const imageRows = (from: number, count: number, shift = 0) => {
    const pixels = tf.tensor4d(images.pixels.subarray(from * PIXELS, (from + count) * PIXELS), [count, 3, side, side]);
    const kept = images.kept.subarray(from * KEPT, (from + count) * KEPT).map((patch) => (patch + shift) % 9);
    return image.embed(weights, pixels, { kept: tf.tensor2d(kept, [count, KEPT], "int32") });
  };
  const textRows = (from = 0, to = CAPTIONS) => text(weights, images.ids.slice(from, to));
  const local = (patches: Tensor2D) => tf.mul(tf.sum(tf.square(tf.slice(patches, [0, 0], [-1, 3]))), 0.01);
  const thirds = [0, 10, 20, CAPTIONS];
  const embedRows = (from: number, count: number, withText: boolean, shift = 0) => {
    const { imageEmbeds, patchEmbeds } = imageRows(from, count, shift);
    const third = withText ? (starts.indexOf(from) >= 0 ? starts.indexOf(from) : from / 10) : -1;
    const texts = third >= 0 ? textRows(thirds[third], thirds[third + 1]) : null;
    return { image: imageEmbeds, text: texts, local: () => local(patchEmbeds) };
  };
  const whole = () => {
    const positive = tf.tensor2d([...images.captions].map((own) => Array.from({ length: CAPTIONS }, (_, j) => Number(own === j))));
    return gradientsOf<null>(tf, weights, () => {
      const { imageEmbeds, patchEmbeds } = imageRows(0, PAIRS);
      const scale = tf.exp(weight(weights, "logit_scale"));
      const contrast =
        kind === "sigmoid"
          ? sigmoidLoss(tf, imageEmbeds, textRows(), { scale, bias: weight(weights, "logit_bias"), positive })
          : contrastiveLoss(tf, imageEmbeds, textRows(), { scale, positive });
      return tf.add(contrast, local(patchEmbeds));
    })(null);
  };
  return { weights, embedRows, textRows, whole };
}

function data() {
  const random = createRandom(11);
  const pixels = Float32Array.from({ length: PAIRS * PIXELS }, random.normal);
  const captions = Int32Array.from({ length: PAIRS }, (_, i) => (i < CAPTIONS ? i : (i * 7) % CAPTIONS));
  const kept = Int32Array.from({ length: PAIRS * KEPT }, (_, i) => (Math.floor(i / KEPT) + (i % KEPT) * 2) % 9);
  const ids = Array.from({ length: CAPTIONS }, (_, i) => Int32Array.of(512, 40 + i, 90 + 3 * i, END, 0, 0));
  return { pixels, captions, kept, ids };
}

/** ‖ours − theirs‖ ≤ 1e-5 ‖theirs‖ for each weight's gradient; one that is nearly nothing is held to the largest of all. */
function compare(ours: LossAndGradients, theirs: LossAndGradients): void {
  const [a, b] = [ours.loss.dataSync()[0] as number, theirs.loss.dataSync()[0] as number];
  assert.ok(Math.abs(a / b - 1) < 1e-5, `loss ${a}, expected ${b}`);
  assert.deepEqual([...ours.gradients.keys()].sort(), [...theirs.gradients.keys()].sort());
  const norms = [...theirs.gradients.values()].map((gradient) => tf.norm(gradient).dataSync()[0] as number);
  const floor = 1e-3 * Math.max(...norms);
  for (const [name, gradient] of theirs.gradients) {
    const [mine, expected] = [ours.gradients.get(name)?.dataSync() as Float32Array, gradient.dataSync() as Float32Array];
    const off = Math.hypot(...expected.map((value, i) => value - (mine[i] as number)));
    assert.ok(off <= 1e-5 * Math.max(floor, Math.hypot(...expected)), `${name} is off by ${off} of ${Math.hypot(...expected)}`);
  }
}
