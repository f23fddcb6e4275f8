/** The tokenizer against open_clip's on 5,000 nasty texts made by test/fixtures/clip/make_texts.py. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { createTokenizer } from "@kenpin/clip";

const CLIP = { merges: 48_894, context: 77 };
const golden = gunzipSync(readFileSync(join(import.meta.dirname, "../fixtures/clip/texts.jsonl.gz")))
  .toString("utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as [string, number[]]);

test("5,000 nasty texts become the ids that open_clip gives them", () => {
  assert.equal(golden.length, 5000);
  const { encode } = createTokenizer(CLIP);
  for (const [text, ids] of golden) {
    const row = encode(text);
    assert.equal(row.length, 77);
    const expected = [...ids, ...new Array<number>(77 - ids.length).fill(0)];
    assert.deepEqual([...row], expected, JSON.stringify(text));
  }
});

test("a text past 77 tokens is cut and keeps its end token", () => {
  const { encode, startId, endId } = createTokenizer(CLIP);
  const row = encode("scratch ".repeat(500));
  assert.equal(row[0], startId);
  assert.equal(row[76], endId);
  assert.equal(row.indexOf(0), -1);
});

test("a smaller merge list still spells any text, and ends it with its own last id", () => {
  const { encode, startId, endId } = createTokenizer({ merges: 100, context: 32 });
  const row = [...encode("検品 🔩")];
  assert.equal(endId, 613);
  assert.equal(row[0], startId);
  assert.ok(row.includes(endId));
  assert.ok(row.every((id) => id >= 0 && id <= endId));
});

test("text that was decoded wrongly, full width or curly means the same as plain text", () => {
  const { encode } = createTokenizer(CLIP);
  for (const [odd, plain] of [
    ["schÃ¶n", "schön"],
    ["ＡＢＣ　１２３", "ABC 123"],
    ["ﾈｼﾞ", "ネジ"],
    ["don’t", "don't"],
    ["a &amp;amp; b", "a & b"],
    ["\u001b[31mred\u001b[0m", "red"],
  ] as const) {
    assert.deepEqual(encode(odd), encode(plain), odd);
  }
});
