/** Intervals hold what they promise: their coverage counted over simulated inspections, and their ends. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { auroc, bootstrapInterval, type Count, createRandom, differenceInterval, exactInterval, type Interval } from "@kenpin/stats";

const DRAWS = 4000;

test("an exact interval covers the true rate at least as often as it says", () => {
  const random = createRandom(1);
  for (const [rate, of] of [
    [0.02, 50],
    [0.1, 30],
    [0.5, 100],
    [0.97, 200],
  ] as const) {
    let covered = 0;
    for (let draw = 0; draw < DRAWS; draw++) covered += Number(holds(exactInterval(drawn(random, rate, of), 0.95), rate));
    assert.ok(covered / DRAWS > 0.945 && covered / DRAWS < 0.999, `${rate} of ${of}: ${covered / DRAWS}`);
  }
});

test("the interval of a difference of rates covers it at least as often as it says, also with few cases on one side", () => {
  const random = createRandom(2);
  for (const [p, m, q, n] of [
    [0.1, 40, 0.1, 200],
    [0.02, 60, 0.1, 60],
    [0.5, 25, 0.3, 300],
  ] as const) {
    let covered = 0;
    for (let draw = 0; draw < DRAWS; draw++) {
      covered += Number(holds(differenceInterval(drawn(random, p, m), drawn(random, q, n), 0.95), p - q));
    }
    assert.ok(covered / DRAWS > 0.945 && covered / DRAWS < 0.999, `${p} of ${m} against ${q} of ${n}: ${covered / DRAWS}`);
  }
});

test("a bootstrapped interval of AUROC covers the true one about as often as it says", () => {
  const random = createRandom(3);
  const truth = 0.8556; // Φ(1.5 / √2): two normal scores of deviation 1, their means 1.5 apart
  const draws = 120;
  let covered = 0;
  for (let draw = 0; draw < draws; draw++) {
    const parts = Array.from({ length: 120 }, (_, i) => ({ label: (i % 2) as 0 | 1, score: random.normal() + 1.5 * (i % 2) }));
    const measure = (some: typeof parts) =>
      auroc(
        some.map(({ score }) => score),
        some.map(({ label }) => label),
      );
    const options = { resamples: 200, level: 0.9, random, stratify: ({ label }: (typeof parts)[number]) => label };
    covered += Number(holds(bootstrapInterval(parts, measure, options), truth));
  }
  assert.ok(covered / draws > 0.8 && covered / draws < 0.98, `covered in ${covered} of ${draws}`);
});

test("no case and one case give wide intervals, never NaN", () => {
  assert.deepEqual(exactInterval({ count: 0, of: 0 }, 0.95), { low: 0, high: 1 });
  const { low, high } = exactInterval({ count: 0, of: 1 }, 0.95);
  assert.equal(low, 0);
  assert.ok(Math.abs(high - 0.975) < 1e-12);
  const difference = differenceInterval({ count: 0, of: 0 }, { count: 5, of: 5 }, 0.95);
  assert.ok(difference.low >= -1 && difference.high <= 1 && difference.low < -0.9 && difference.high > 0);
});

test("the rule of three: no escape in 300 parts means fewer than about 1 in 100", () => {
  const { high } = exactInterval({ count: 0, of: 300 }, 0.9);
  assert.ok(Math.abs(high - (1 - 0.05 ** (1 / 300))) < 1e-12);
});

function drawn(random: ReturnType<typeof createRandom>, rate: number, of: number): Count {
  let count = 0;
  for (let i = 0; i < of; i++) count += Number(random.next() < rate);
  return { count, of };
}

function holds({ low, high }: Interval, value: number): boolean {
  return low <= value && value <= high;
}
