/** What is a spike, what is a divergence, and what is neither: the judge alone, on rows of numbers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom } from "@kenpin/stats";
import { createStability, StabilityState } from "../../../cloud-trainer/src/train/engines/tfjs/stability.ts";

const OPTIONS = { window: 16, lossDeviations: 10, normFactor: 20, skipsBeforeRollback: 3, rateAfterRollback: 0.5, maxRollbacks: 2 };
type Stability = ReturnType<typeof createStability>;

/** A judge that has seen `count` ordinary steps. */
function settled(count = 32, seed = 1): Stability {
  const stability = createStability(OPTIONS);
  for (const [i, seen] of ordinary(count, seed).entries()) assert.equal(stability.judge(i + 1, seen).kind, "accept");
  return stability;
}

function ordinary(count: number, seed: number, level = 3): { loss: number; norm: number }[] {
  const { normal, next } = createRandom(seed);
  return Array.from({ length: count }, () => ({ loss: level + 0.05 * normal(), norm: 1 + next() }));
}

test("a falling loss with heavy-tailed norms is accepted, step for step, down to almost nothing", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const stability = createStability(OPTIONS);
    const { normal } = createRandom(seed);
    for (let step = 1; step <= 400; step++) {
      const loss = 4 * Math.exp(-step / 60) * (1 + 0.1 * normal()) + 0.01 * Math.exp(normal());
      const verdict = stability.judge(step, { loss, norm: (0.2 + 3 * Math.exp(-step / 60)) * Math.exp(0.7 * normal()) });
      assert.deepEqual(verdict, { kind: "accept" }, `seed ${seed}, step ${step}`);
    }
  }
});

test("what is no number is skipped from the first step on", () => {
  const stability = createStability(OPTIONS);
  assert.deepEqual(stability.judge(1, { loss: Number.NaN, norm: 1 }), { kind: "skip", why: "the loss is NaN" });
  assert.deepEqual(stability.judge(1, { loss: 1, norm: Number.POSITIVE_INFINITY }), {
    kind: "skip",
    why: "the gradient's norm is Infinity",
  });
});

test("a loss far above the usual and a gradient far larger than usual are skipped, with the numbers in the reason", () => {
  const stability = settled();
  const loss = stability.judge(33, { loss: 4, norm: 1 });
  assert.equal(loss.kind, "skip");
  assert.match((loss as { why: string }).why, /^the loss is 4\.000, after a median of [23]\.\d+$/);
  const norm = stability.judge(33, { loss: 3, norm: 1e6 });
  assert.match((norm as { why: string }).why, /^the gradient's norm is 1\.000e\+6, usual is 1\.\d+$/);
  assert.equal(stability.calm(), false);
  assert.equal(stability.judge(33, { loss: 3, norm: 1 }).kind, "accept");
  assert.equal(stability.calm(), true);
});

test("a hard batch that keeps coming back alone is learned from after a while", () => {
  const stability = settled();
  const verdicts: string[] = [];
  for (const [i, seen] of ordinary(120, 5).entries()) {
    if (i % 6 === 0) verdicts.push(stability.judge(40 + i, { loss: 4.5, norm: 1.5 }).kind);
    else stability.judge(40 + i, seen);
  }
  assert.equal(verdicts[0], "skip");
  assert.equal(verdicts.at(-1), "accept");
  assert.ok(!verdicts.includes("roll-back"));
});

test("odd steps in a row lead back, at half the rate, and each further time in the same row only after twice as many", () => {
  const stability = settled();
  const good = stability.state();
  const row: number[] = [];
  for (let skipped = 1; row.length < 3; skipped++) {
    if (stability.judge(33, { loss: 9, norm: 1 }).kind !== "roll-back") continue;
    row.push(skipped);
    assert.equal(stability.depth(), row.length - 1, "a saved state that did not help is not the one to try again");
    assert.equal(stability.spent(), row.length === 3);
    skipped = 0;
    if (!stability.spent()) stability.rolledBack(good, 33);
  }
  assert.deepEqual(row, [3, 6, 12]);
  assert.equal(stability.rateShare(), 0.25);
});

test("the rate comes back in halves once the place of trouble is passed", () => {
  const stability = settled();
  const good = stability.state();
  stability.rolledBack(good, 40);
  stability.rolledBack(good, 40);
  const shares = ordinary(60, 9).map((seen, i) => {
    stability.judge(33 + i, seen);
    return stability.rateShare();
  });
  assert.deepEqual([...new Set(shares)], [0.25, 0.5, 1]);
  assert.equal(shares[40 + 16 - 33], 0.5, "a window past the trouble");
});

test("a loss that rises little by little is a divergence, although no step of it is a spike", () => {
  const stability = settled(64);
  const verdicts: string[] = [];
  let steadyLost: number | null = null;
  for (const [i, seen] of ordinary(400, 3).entries()) {
    verdicts.push(stability.judge(65 + i, { ...seen, loss: seen.loss + i * 0.01 }).kind);
    if (steadyLost === null && !stability.steady()) steadyLost = i;
    if (verdicts.at(-1) !== "accept") break;
  }
  assert.equal(verdicts.at(-1), "roll-back");
  assert.ok(verdicts.slice(0, -1).every((kind) => kind === "accept"));
  assert.ok(steadyLost !== null && steadyLost < verdicts.length - 10, "states saved half-way up are not gone back to");
});

test("what the judge has seen goes through JSON unchanged, and the same steps get the same verdicts", () => {
  const first = settled();
  const second = createStability(OPTIONS, StabilityState.parse(JSON.parse(JSON.stringify(first.state()))));
  for (const [i, seen] of [...ordinary(20, 4), { loss: 9, norm: 1 }, { loss: 3, norm: 900 }].entries()) {
    assert.deepEqual(second.judge(33 + i, seen), first.judge(33 + i, seen));
    assert.deepEqual(second.state(), first.state());
  }
});
