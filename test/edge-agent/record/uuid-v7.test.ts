/** Ids that sort by time, as RFC 9562 has them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { uuidV7 } from "../../../edge-agent/src/record/uuid-v7.ts";

test("an id carries its millisecond, version and variant, and no two are the same", () => {
  // The example of RFC 9562, appendix A.6: 2022-02-22T19:22:22Z is 017f22e2-79b0.
  assert.match(uuidV7(0x017f22e279b0), /^017f22e2-79b0-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const ids = Array.from({ length: 1000 }, () => uuidV7());
  assert.equal(new Set(ids).size, 1000);
  for (const id of ids) z.uuidv7().parse(id);
});

test("ids of later milliseconds sort after earlier ones", () => {
  const ids = [1, 2, 1000, 0xffff, 0x10000, Date.now()].map((ms) => uuidV7(ms));
  assert.deepEqual([...ids].sort(), ids);
});
