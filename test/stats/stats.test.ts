/** What the measures mean: ties, one class only, intervals that cover what they should, streams that can be played again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  auroc,
  bootstrapInterval,
  createRandom,
  deviation,
  logisticLine,
  logisticRegression,
  mean,
  pairedBootstrapInterval,
} from "@kenpin/stats";
import fc from "fast-check";

type Case = { score: number; label: 0 | 1 };
const areaUnder = (cases: Case[]) =>
  auroc(
    cases.map(({ score }) => score),
    cases.map(({ label }) => label),
  );

test("AUROC is the share of good-bad pairs in the right order, a tie counting half", () => {
  assert.equal(auroc([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]), 1);
  assert.equal(auroc([0.4, 0.3, 0.2, 0.1], [0, 0, 1, 1]), 0);
  assert.equal(auroc([0.5, 0.5, 0.5, 0.5], [0, 1, 0, 1]), 0.5);
  const oneCase = fc.record({ score: fc.integer({ min: 0, max: 6 }), label: fc.constantFrom<0 | 1>(0, 1) });
  fc.assert(
    fc.property(fc.array(oneCase, { minLength: 1, maxLength: 40 }), (cases) => {
      const [bad, good] = [cases.filter(({ label }) => label === 1), cases.filter(({ label }) => label === 0)];
      const wins = bad.flatMap((b) => good.map((g) => (b.score > g.score ? 1 : b.score === g.score ? 0.5 : 0)));
      if (wins.length === 0) assert.ok(Number.isNaN(areaUnder(cases)));
      else assert.ok(Math.abs(areaUnder(cases) - mean(wins)) < 1e-9);
    }),
  );
});

test("a resample keeps as many good and bad cases as there are, so AUROC never loses a class", () => {
  const cases: Case[] = Array.from({ length: 30 }, (_, i) => ({ score: i % 7, label: i < 2 ? 1 : 0 }));
  const sizes = new Set<string>();
  const measure = (some: Case[]) => {
    sizes.add(`${some.length} ${some.filter(({ label }) => label === 1).length}`);
    return areaUnder(some);
  };
  const options = { resamples: 200, level: 0.95, random: createRandom(1), stratify: ({ label }: Case) => label };
  const { low, high } = bootstrapInterval(cases, measure, options);
  assert.deepEqual([...sizes], ["30 2"]);
  assert.ok(low < areaUnder(cases) && areaUnder(cases) < high);
});

test("a bootstrap interval of two items reaches from one to the other, for their mean is one of them every fourth time", () => {
  const { low, high } = bootstrapInterval([0, 1], mean, { resamples: 1000, level: 0.4, random: createRandom(2) });
  assert.deepEqual([low, high], [0.5, 0.5]);
  assert.deepEqual(bootstrapInterval([0, 1], mean, { resamples: 1000, level: 0.6, random: createRandom(2) }), { low: 0, high: 1 });
});

test("in about 95 of 100 experiments the interval holds the true mean", () => {
  const random = createRandom(3);
  let covered = 0;
  for (let experiment = 0; experiment < 400; experiment++) {
    const sample = Array.from({ length: 40 }, () => 5 + 2 * random.normal());
    const { low, high } = bootstrapInterval(sample, mean, { resamples: 300, level: 0.95, random });
    covered += Number(low <= 5 && 5 <= high);
  }
  assert.ok(covered > 400 * 0.9 && covered < 400 * 0.98, `${covered} of 400`);
});

test("a small gain on very different cases shows only when the cases are paired", () => {
  const random = createRandom(4);
  const before = Array.from({ length: 50 }, () => 100 * random.normal());
  const after = before.map((value) => value + 1);
  const options = () => ({ resamples: 500, level: 0.95, random: createRandom(5) });
  const paired = pairedBootstrapInterval(after, before, mean, options());
  assert.ok(Math.abs(paired.low - 1) < 1e-9 && Math.abs(paired.high - 1) < 1e-9);
  const alone = bootstrapInterval(after, mean, options());
  assert.ok(alone.high - alone.low > 20);
  assert.throws(() => pairedBootstrapInterval([1, 2], [1], mean, options()), /differ in number: 2 and 1/);
});

test("a logistic regression on separated labels stays finite, and its line crosses one half between them", () => {
  const labels: (0 | 1)[] = [0, 0, 0, 1, 1, 1];
  const values = [1, 2, 3, 7, 8, 9];
  const { slope, intercept } = logisticLine(values, labels);
  assert.ok(Number.isFinite(slope) && slope > 0);
  assert.ok(Math.abs(-intercept / slope - 5) < 1e-6);
  const probability = logisticRegression(
    values.map((value) => [value, 3]),
    labels,
  );
  for (const [i, value] of values.entries()) assert.equal(probability([value, 3]) > 0.5, labels[i] === 1);
  assert.ok(Math.abs(probability([5, 3]) - 0.5) < 1e-6);
});

test("the same seed gives the same stream, a stored state goes on where it was, other seeds give others", () => {
  const [a, b] = [createRandom(42), createRandom(42)];
  const first = Array.from({ length: 100 }, a.next);
  assert.deepEqual(Array.from({ length: 100 }, b.next), first);
  const resumed = createRandom(a.state());
  assert.deepEqual(Array.from({ length: 100 }, resumed.next), Array.from({ length: 100 }, a.next));
  const starts = new Set(Array.from({ length: 1000 }, (_, seed) => createRandom(seed).next()));
  assert.equal(starts.size, 1000);
});

test("draws are uniform, normal draws are normal, and a shuffle reaches every order alike", () => {
  const random = createRandom(6);
  const seen = new Array<number>(16).fill(0);
  for (let i = 0; i < 16_000; i++) {
    const at = random.int(16);
    seen[at] = (seen[at] as number) + 1;
  }
  assert.ok(chiSquare(seen) < 37.7, "15 degrees of freedom, one chance in a thousand");
  const normals = Array.from({ length: 20_000 }, random.normal);
  assert.ok(Math.abs(mean(normals)) < 0.03 && Math.abs(deviation(normals) - 1) < 0.03);
  const orders = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const order = random.shuffle(["a", "b", "c"]).join("");
    orders.set(order, (orders.get(order) ?? 0) + 1);
  }
  assert.equal(orders.size, 6);
  assert.ok(chiSquare([...orders.values()]) < 20.5, "5 degrees of freedom, one chance in a thousand");
});

function chiSquare(counts: number[]): number {
  const expected = mean(counts);
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}
