/** Scores of a student laid over its teacher's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { alignScores } from "../../../cloud-trainer/src/evaluate/align-scores.ts";

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const logits = [-3, -1.5, -0.2, 0.4, 2, 3.5];

test("a student whose logits are stretched and shifted is brought back to its teacher's exactly", () => {
  const { scale, shift } = alignScores(logits.map(sigmoid), logits.map((x) => sigmoid(x / 2 - 1))); // biome-ignore format: one line
  assert.ok(Math.abs(scale - 2) < 1e-9 && Math.abs(shift - 2) < 1e-9, `${scale}, ${shift}`);
});

test("scores at the very ends, constant scores and opposite ones give a finite, bounded answer", () => {
  for (const student of [[0, 1, 0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5, 0.5, 0.5], logits.map((x) => sigmoid(-x))]) {
    const { scale, shift } = alignScores(logits.map(sigmoid), student);
    assert.ok(scale >= 0.25 && scale <= 4 && Number.isFinite(shift));
  }
});
