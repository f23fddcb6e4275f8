/** What somebody reads who wrote a part sheet: two lines are enough, and what is wrong is named where it stands. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PartSheet, parseAtDoor, PromptSet } from "@kenpin/schema";

const read = (value: unknown) => parseAtDoor(PartSheet, value, "sheet.yaml");
const refused = (value: unknown) => {
  let message = "";
  assert.throws(
    () => read(value),
    (error: Error) => {
      message = error.message;
      return !message.includes("\n");
    },
  );
  return message;
};

test("a part sheet of two lines works", () => {
  const { good, bad, general, words } = read({ part: "BRKT-2041", object: "metal bracket" });
  assert.deepEqual({ good, bad, general, words }, { good: [], bad: [], general: 2, words: {} });
});

test("words, weights and whole sentences stand side by side, in either language", () => {
  const bad = ["キズ", { say: "bent pin", weight: 0.5 }, { sentence: "a photo of a bracket that fell on the floor" }];
  const sheet = read({ part: "A", object: "ブラケット", bad, words: { テカリ: "glare" } });
  assert.deepEqual(sheet.bad, ["キズ", { say: "bent pin", weight: 0.5 }, { ...(bad[2] as object), weight: 1 }]);
});

test("a misspelt key is named with the right one, also within a list of words", () => {
  const base = { part: "A", object: "gear" };
  assert.equal(refused({ ...base, bda: [] }), 'sheet.yaml: unknown key "bda", did you mean "bad"?');
  assert.equal(refused({ ...base, bad: [{ say: "x", wieght: 2 }] }), 'sheet.yaml at bad.0: unknown key "wieght", did you mean "weight"?');
  assert.match(refused({ ...base, bad: ["x", 3] }), /^sheet\.yaml at bad\.1: expected a word, \{say: /);
  assert.match(refused({ ...base, bad: [{ say: "x", weight: 0 }] }), /bad\.0\.weight: a weight from 0\.01 to 100/);
});

test("a part number that YAML took for a number is refused, since its leading zeros are gone", () => {
  assert.match(refused({ part: 42, object: "gear" }), /at part: expected text, got 42; write it in quotes/);
});

test("lists and texts have limits", () => {
  assert.match(refused({ part: "A", object: "gear", bad: Array(65).fill("x") }), /^sheet\.yaml at bad/);
  assert.match(refused({ part: "A", object: "x".repeat(101) }), /^sheet\.yaml at object/);
  assert.match(refused({ part: "A", object: "gear", bad: [" "] }), /^sheet\.yaml at bad\.0/);
});

test("without general words both sides need words of their own", () => {
  assert.match(refused({ part: "A", object: "gear", bad: ["rust"], general: 0 }), /at general: with general: 0 the sheet needs/);
  assert.equal(read({ part: "A", object: "gear", good: ["clean"], bad: ["rust"], general: 0 }).general, 0);
});

test("prompts whose numbers do not fit their rows are refused", () => {
  const prompts = { schemaVersion: 1, good: ["even"], bad: ["torn"], dim: 2, embeddings: [1, 0, 0, 1], logitScale: 10 };
  assert.doesNotThrow(() => parseAtDoor(PromptSet, { ...prompts, weights: [1, 2], words: ["均一", "破れ"] }, "prompts.json"));
  const wrong: [Partial<PromptSet>, RegExp][] = [
    [{ embeddings: [1, 0, 0] }, /at embeddings: expected 4 embeddings, got 3/],
    [{ weights: [1] }, /at weights: expected 2 weights, got 1/],
    [{ words: ["a", "b", "c"] }, /at words: expected 2 words, got 3/],
  ];
  for (const [change, message] of wrong) assert.throws(() => parseAtDoor(PromptSet, { ...prompts, ...change }, "prompts.json"), message);
});
