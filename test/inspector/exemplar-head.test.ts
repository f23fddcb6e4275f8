/** The head on exemplars of both kinds: it has a say where it knows better than words and bank, and none where it does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom, type Random, sigmoid } from "@kenpin/stats";
import { fitHead, type LabelledStatistics, logitWithHead, statisticsOf } from "../../packages/inspector/src/exemplar-head.ts";

const COLUMNS = 300;

type Kind = { statistics: number; fused: number };

/** `telling` is how far apart good and bad lie, in deviations: in a tenth of the statistics, and in words and bank. */
function exemplars(random: Random, count: number, telling: Kind, badShare = 0.5): LabelledStatistics[] {
  return Array.from({ length: count }, (_, i) => {
    const isBad = i < count * badShare;
    const shift = isBad ? telling.statistics : 0;
    const statistics = Float32Array.from({ length: COLUMNS }, (_, j) => 0.02 * (random.normal() + (j % 10 === 0 ? shift : 0)) + j);
    return { isBad, statistics, fusedBy: [random.normal() + (isBad ? telling.fused : 0), random.normal()] };
  });
}

const accuracy = (head: Parameters<typeof logitWithHead>[2], frames: LabelledStatistics[]) =>
  frames.filter(({ isBad, statistics, fusedBy }) => logitWithHead(fusedBy[0] as number, statistics, head) > 0 === isBad).length /
  frames.length;

test("where the statistics tell and words and bank do not, the head decides, and new frames are told apart as it said", () => {
  const random = createRandom(4);
  const telling = { statistics: 1, fused: 0 };
  const { head, scores, figures } = fitHead(exemplars(random, 80, telling), [0.5, 0.5]);
  assert.ok(head.share >= 0.75, `${head.share}`);
  assert.ok(figures.with.auroc > 0.95 && figures.without.auroc < 0.7, JSON.stringify(figures));
  assert.ok(scores.every((score) => score > 0 && score < 1));
  assert.ok(accuracy(head, exemplars(random, 400, telling)) > 0.9);
});

test("where they are noise, words and bank decide: cross-validation finds the head no better, and it is not worse on new frames", () => {
  const random = createRandom(5);
  const telling = { statistics: 0, fused: 4 };
  const { head, figures } = fitHead(exemplars(random, 60, telling), [0.5, 0.5]);
  assert.ok(head.share <= 0.25 && figures.with.crossEntropy <= figures.without.crossEntropy, `${head.share}`);
  assert.ok(accuracy(head, exemplars(random, 400, telling)) > 0.95);
});

test("whatever the exemplars, cross-validation's choice is never worse than words and bank alone, which are among the choices", () => {
  const random = createRandom(6);
  for (const [count, badShare] of [
    [12, 0.5],
    [30, 0.2],
    [40, 0.8],
  ] as const) {
    const telling = { statistics: random.next(), fused: random.between(0, 2) };
    const { figures, head } = fitHead(exemplars(random, count, telling, badShare), [0.5, 0.25]);
    assert.ok(figures.with.crossEntropy <= figures.without.crossEntropy);
    assert.ok(head.scale > 0 && [head.intercept, head.bias, ...head.weights].every(Number.isFinite));
  }
});

test("scores are calibrated: of those near a value about that share is bad, few bad ones or many", () => {
  const random = createRandom(7);
  const telling = { statistics: 0.35, fused: 1.2 };
  const { head } = fitHead(exemplars(random, 160, telling, 0.25), [0.5]);
  const fresh = exemplars(random, 2000, telling); // half bad: both kinds weighed alike
  const probability = ({ fusedBy, statistics }: LabelledStatistics) => sigmoid(logitWithHead(fusedBy[0] as number, statistics, head));
  for (const [low, high] of [
    [0.1, 0.4],
    [0.4, 0.6],
    [0.6, 0.9],
  ] as const) {
    const near = fresh.filter((frame) => probability(frame) >= low && probability(frame) < high);
    const [said, were] = [
      near.reduce((sum, frame) => sum + probability(frame), 0) / near.length,
      near.filter(({ isBad }) => isBad).length / near.length,
    ];
    assert.ok(Math.abs(said - were) < 0.15, `said ${said.toFixed(2)}, were ${were.toFixed(2)} of ${near.length}`);
  }
});

test("one odd frame is no more certain than a certain one", () => {
  const random = createRandom(8);
  const { head } = fitHead(exemplars(random, 40, { statistics: 1, fused: 1 }), [0.5]);
  const odd = new Float32Array(COLUMNS).fill(1e6);
  const bound = head.scale * 8 + Math.abs(head.bias);
  for (const fused of [-1e9, 1e9]) assert.ok(Math.abs(logitWithHead(fused, odd, head)) <= bound + 1e-9);
});

test("statistics are mean, deviation, largest and smallest of each number over the patches, mean and largest over tiles", () => {
  const patches = { data: Float32Array.of(1, 10, 3, 10, 5, 40), dim: 2, spread: true };
  const tiles = { data: Float32Array.of(2, 4), dim: 1, spread: false };
  const statistics = [...statisticsOf([patches, tiles])];
  const expected = [3, 20, Math.sqrt(8 / 3), Math.sqrt(200), 5, 40, 1, 10, 3, 4];
  for (const [i, value] of expected.entries()) assert.ok(Math.abs((statistics[i] as number) - value) < 1e-4, `${i}: ${statistics[i]}`);
  assert.equal(statistics.length, expected.length);
});
