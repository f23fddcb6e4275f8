/** Limits from few good frames: SciPy's factors, and what they keep where logits are normal. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createRandom, normalUpperLimit, toleranceFactor } from "@kenpin/stats";

type Factor = { n: number; share: number; confidence: number; factor: number };
const { factors } = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/stats/promises.json"), "utf8")) as { factors: Factor[] };
const OPTIONS = { share: 0.1, confidence: 0.9 };

test("factors of a normal tolerance limit are those of SciPy's noncentral t, from two frames on", () => {
  for (const { n, share, confidence, factor } of factors) {
    const own = toleranceFactor(n, { share, confidence });
    assert.ok(Math.abs(own / factor - 1) < 1e-5, `${n} frames, ${share}, ${confidence}: ${own}, expected ${factor}`);
  }
});

test("a limit from few good frames holds as often as it says where logits are normal", () => {
  const random = createRandom(2);
  const z = 1.2815515655446004; // 10 % of a standard normal lie above
  for (const n of [3, 8]) {
    const factor = toleranceFactor(n, OPTIONS);
    let kept = 0;
    for (let round = 0; round < 20_000; round++) {
      const logits = Array.from({ length: n }, () => random.normal());
      const mean = logits.reduce((sum, value) => sum + value, 0) / n;
      const deviation = Math.sqrt(logits.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
      if (mean + factor * deviation >= z) kept++;
    }
    assert.ok(Math.abs(kept / 20_000 - 0.9) < 2 * Math.sqrt(0.09 / 20_000), `${n} frames: ${kept / 20_000}`);
  }
});

test("one frame gives no limit, frames of one score give that score, and frames at the scale's end a limit below one", () => {
  assert.equal(normalUpperLimit([0.1], OPTIONS), null);
  assert.equal(normalUpperLimit([0.1, 0.1, 0.1], OPTIONS), 0.1);
  const limit = normalUpperLimit([0, 0, 1e-9, 0.001], OPTIONS) as number;
  assert.ok(limit > 0.001 && limit < 1);
  const wider = normalUpperLimit([0.1, 0.2], OPTIONS) as number;
  assert.ok(wider > (normalUpperLimit([0.1, 0.2, 0.1, 0.2, 0.1, 0.2], OPTIONS) as number), "fewer frames, a higher limit");
});
