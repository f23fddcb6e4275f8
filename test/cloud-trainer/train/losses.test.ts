/** The losses on cases small enough to work out by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { contrastiveLoss, patchLogits, weightedCrossEntropy } from "../../../cloud-trainer/src/train/engines/tfjs/losses.ts";

const { tf } = await loadBackend();
type Grid = number[][];

function contrast(image: Grid, text: Grid, scale: number, positive: Grid, blocked: Grid = positive.map((row) => row.map(() => 0))): number {
  const relations = { positive: tf.tensor2d(positive), blocked: tf.tensor2d(blocked) };
  return contrastiveLoss(tf, tf.tensor2d(image), tf.tensor2d(text), { scale: tf.scalar(scale), ...relations }).dataSync()[0] as number;
}

const X = [1, 0];
const Y = [0, 1];

test("two pictures beside their own captions: ln(1 + e^−scale) either way", () => {
  near(contrast([X, Y], [X, Y], 2, [X, Y]), Math.log(1 + Math.exp(-2)));
});

test("pictures and captions that are all alike: the logarithm of how many there are", () => {
  near(contrast([X, X, X], [X, X, X], 10, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]), Math.log(3)); // biome-ignore format: a matrix
});

test("one caption for two pictures: each picture is sure of it, and it shares itself out between them", () => {
  // picture → caption: logits (3, 0), (3, 0), (0, 3), so ln(1 + e⁻³) each
  // caption → picture: the first, over (3, 3, 0) with half a share each: ln(2 + e⁻³); the second, over (0, 0, 3): ln(1 + 2e⁻³)
  const pictures = Math.log(1 + Math.exp(-3));
  const captions = (Math.log(2 + Math.exp(-3)) + Math.log(1 + 2 * Math.exp(-3))) / 2;
  near(contrast([X, X, Y], [X, Y], 3, [X, X, Y]), (pictures + captions) / 2);
});

test("a caption that is also true is no negative: it neither pulls nor pushes", () => {
  // Without the block each picture would be torn between both captions, which are the same to it.
  near(contrast([X, X], [X, X], 5, [X, Y]), Math.log(2));
  near(contrast([X, X], [X, X], 5, [X, Y], [Y, X]), 0);
});

test("pictures turned away from their captions cost the scale itself", () => {
  near(contrast([X, Y], [Y, X], 4, [X, Y]), 4 + Math.log(1 + Math.exp(-4)));
});

test("a patch's logit is the scaled difference of its cosines to bad and to good", () => {
  const directions = { good: tf.tensor1d(X), bad: tf.tensor1d(Y) };
  const patches = tf.tensor2d([X, Y, [0.6, 0.8]]);
  const logits = [...patchLogits(tf, patches, directions, tf.scalar(10)).dataSync()];
  for (const [i, expected] of [-10, 10, 2].entries()) near(logits[i] as number, expected);
});

test("cross-entropy is ln 2 where nothing is known, weighs its cases, and leaves out those of weight 0", () => {
  const entropy = (logits: number[], targets: number[], weights: number[]) =>
    weightedCrossEntropy(tf, tf.tensor1d(logits), tf.tensor1d(targets), tf.tensor1d(weights)).dataSync()[0] as number;
  near(entropy([0, 0], [0, 1], [1, 1]), Math.log(2));
  // (3 · ln(1 + e⁻²) + 1 · ln(1 + e¹)) / 4, and a case of weight 0 that would cost 50
  near(entropy([2, 1, 50], [1, 0, 0], [3, 1, 0]), (3 * Math.log(1 + Math.exp(-2)) + Math.log(1 + Math.E)) / 4);
  near(entropy([1], [0.25], [2]), 0.25 * Math.log(1 + Math.exp(-1)) + 0.75 * Math.log(1 + Math.E));
  near(entropy([200, -200], [0, 1], [1, 1]), 200); // no overflow
  near(entropy([5], [0], [0]), 0); // nothing to say
});

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= 2e-6 * Math.max(1, Math.abs(expected)), `${actual}, expected ${expected}`);
}
