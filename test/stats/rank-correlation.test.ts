/** Spearman's rank correlation on cases worked out by hand, and against its definition with ties. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { rankCorrelation } from "@kenpin/stats";
import fc from "fast-check";

test("the same order is 1, the opposite −1, whatever the distances", () => {
  assert.equal(rankCorrelation([1, 2, 3, 4], [10, 200, 201, 9000]), 1);
  assert.equal(rankCorrelation([1, 2, 3, 4], [4, 3, 2, -100]), -1);
});

test("one pair exchanged: 1 − 6·Σd² / (n·(n² − 1))", () => {
  assert.ok(Math.abs(rankCorrelation([1, 2, 3, 4, 5], [1, 3, 2, 4, 5]) - (1 - (6 * 2) / (5 * 24))) < 1e-12);
});

test("tied cases share their mean rank", () => {
  // ranks 1.5, 1.5, 3 against 1, 2, 3: Σdxdy = 1.5, Σdx² = 1.5, Σdy² = 2
  assert.ok(Math.abs(rankCorrelation([5, 5, 9], [1, 2, 3]) - 1.5 / Math.sqrt(1.5 * 2)) < 1e-12);
});

test("a list without any order agrees with nothing, and lists that do not match are refused", () => {
  assert.equal(rankCorrelation([1, 1, 1], [1, 2, 3]), 0);
  assert.throws(() => rankCorrelation([1, 2], [1]), RangeError);
  assert.throws(() => rankCorrelation([1], [1]), RangeError);
});

test("it is symmetric, lies in [−1, 1], and does not change when one score is stretched", () => {
  const score = fc.integer({ min: -5, max: 5 });
  const pairs = fc.array(fc.tuple(score, score), { minLength: 2, maxLength: 30 });
  fc.assert(
    fc.property(pairs, (cases) => {
      const [a, b] = [cases.map(([x]) => x), cases.map(([, y]) => y)];
      const found = rankCorrelation(a, b);
      assert.ok(found >= -1 - 1e-12 && found <= 1 + 1e-12);
      assert.ok(Math.abs(found - rankCorrelation(b, a)) < 1e-12);
      assert.ok(Math.abs(found - rankCorrelation(a.map((x) => x ** 3 * 7 + 1), b)) < 1e-12); // biome-ignore format: one line
    }),
  );
});
