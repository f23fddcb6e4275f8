/** An agent whose model is swapped again and again, as test/bench/swaps.ts does a hundred times: it does not grow. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { growthOf, swapModels } from "../../support/model-swaps.ts";

const SWAPS = 15;
/** In so few swaps the heap may grow by a tenth before it is collected; a hundred settle below 5 %, and a model that stayed would show. */
const GROWTH = 0.15;

test("an agent that was given fifteen models holds no more memory than before, and has one inspector", async (t) => {
  const { before, agentMb, processes } = await swapModels(SWAPS);
  const { last, ratio } = growthOf(before, agentMb);
  t.diagnostic(`${before.toFixed(1)} MB before, ${last.toFixed(1)} MB after ${SWAPS} swaps`);
  assert.equal(agentMb.length, SWAPS);
  assert.equal(processes, 1);
  assert.ok(ratio <= GROWTH, `it grew by ${(100 * ratio).toFixed(1)} %: ${agentMb.map(Math.round)}`);
});
