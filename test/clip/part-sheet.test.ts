/** From a part sheet to prompts: which sentences, which weights, and embeddings that anybody can follow. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { compilePartSheet, createTokenizer, embedPartSheet, ensembleFor, partWords } from "@kenpin/clip";
import { PartSheet, PromptSet } from "@kenpin/schema";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";
import { draw } from "../onnx/seeded-weights.ts";

const SMALL = { merges: 1534, context: 24 };
const PLAIN = ensembleFor(SMALL);
const sheetOf = (rest: object) => PartSheet.parse({ part: "A-1", object: "metal bracket", ...rest });

/** A tower that embeds each token row by its ids alone. */
const embed = async (rows: Int32Array[]) => rows.map((row) => unit(Float32Array.from(draw(row.join(), 8))));

test("each state is one row of object × state × template, and the shown sentence is the shortest", () => {
  const { rows, object } = compilePartSheet(sheetOf({ bad: ["キズ"], general: 0, good: ["flawless"] }), {
    general: { good: [], bad: [] },
    templates: ["{}", "a photo of {}"],
    standIns: ["material"],
  });
  assert.equal(object, "a metal bracket");
  assert.deepEqual(rows[0], {
    side: "good",
    word: "flawless",
    text: "a flawless metal bracket",
    weight: 1,
    from: "glossary",
    texts: ["a flawless metal bracket", "a photo of a flawless metal bracket", "flawless material", "a photo of flawless material"],
  });
  const scratched = ["a metal bracket with a scratch", "a metal bracket with a scratched line", "a scratched metal bracket"];
  assert.deepEqual(
    rows[1]?.texts.slice(0, 6),
    scratched.flatMap((text) => [text, `a photo of ${text}`]),
  );
});

test("each general sentence weighs as much as two of the sheet's words, or as the sheet says; weights are kept", () => {
  const weightsOf = (rest: object, isGeneral: boolean) =>
    compilePartSheet(sheetOf(rest), PLAIN)
      .rows.filter((row) => row.side === "bad" && (row.from === "general") === isGeneral)
      .map(({ weight }) => weight);
  const bad = ["キズ", { say: "汚れ", weight: 3 }];
  assert.deepEqual([weightsOf({ bad }, false), weightsOf({ bad }, true)], [[1, 3], PLAIN.general.bad.map(() => 2)]);
  assert.deepEqual([...new Set(weightsOf({ bad, general: 0.5 }, true))], [0.5]);
  assert.deepEqual(weightsOf({ bad, good: ["良品"], general: 0 }, true), []);
});

test("on kenpin's own models a sheet of two lines says what their patches were held against while they trained", () => {
  const { rows } = compilePartSheet(sheetOf({}), PLAIN);
  const of = (side: string) => rows.filter((row) => row.side === side).map(({ text }) => text);
  assert.deepEqual({ good: of("good"), bad: of("bad") }, BASE_WORDS);
  assert.equal(new Set(rows.map(({ weight }) => weight)).size, 1);
});

test("a published model's templates are other ones, without stand-ins for the object", () => {
  const photographic = ensembleFor({ merges: 48_894 });
  const { rows } = compilePartSheet(sheetOf({}), photographic);
  assert.ok(rows.every(({ texts }) => texts.every((text) => text.includes("metal bracket"))));
  assert.ok(photographic.templates.length > PLAIN.templates.length);
});

test("words under the wrong side are pointed out, unknown ones refused all at once", () => {
  const { warnings } = compilePartSheet(sheetOf({ good: ["キズ"], bad: ["良品"] }), PLAIN);
  assert.deepEqual(warnings, [
    '"キズ" stands under good, but the glossary knows it as bad',
    '"良品" stands under bad, but the glossary knows it as good',
  ]);
  assert.throws(() => compilePartSheet(sheetOf({ object: "謎の物", bad: ["テカリ", "キズ"] }), PLAIN), {
    code: "word-unknown",
    message:
      /does not know "謎の物"[^;]*, "テカリ"[^;]*; use one that it knows, or say it in English in the sheet, as words: \{謎の物: glare\}$/,
  });
});

test("a row is the mean of its sentences' embeddings, of length 1, and keeps what the person wrote", async () => {
  const sheet = sheetOf({ good: ["均一"], bad: [{ say: "ｷｽﾞ", weight: 3 }, { sentence: "a photo of a bracket with no holes" }] });
  const { prompts, rows } = await embedPartSheet(sheet, { text: SMALL, logitScale: 20, embed });
  PromptSet.parse(prompts);
  assert.equal(prompts.words?.[rows.findIndex(({ word }) => word === "ｷｽﾞ")], "ｷｽﾞ");
  assert.deepEqual(
    prompts.weights,
    rows.map(({ weight }) => weight),
  );
  assert.deepEqual(
    [...prompts.good, ...prompts.bad],
    rows.map(({ text }) => text),
  );
  const { encode } = createTokenizer({ ...SMALL });
  for (const [i, { texts }] of rows.entries()) {
    const parts = await embed(texts.map(encode));
    const mean = unit(Float32Array.from({ length: 8 }, (_, k) => parts.reduce((sum, part) => sum + (part[k] as number), 0)));
    for (let k = 0; k < 8; k++) assert.ok(Math.abs((mean[k] as number) - (prompts.embeddings[i * 8 + k] as number)) < 1e-6);
  }
});

test("sentences that a small tower would cut are left out, and a word that makes no shorter one is refused", async () => {
  const { rows } = await embedPartSheet(sheetOf({ object: "galvanised mounting bracket assembly" }), { text: SMALL, logitScale: 1, embed });
  const { encode, endId } = createTokenizer(SMALL);
  for (const { texts } of rows) for (const text of texts) assert.notEqual(encode(text)[SMALL.context - 1], endId, text);
  const long = { sentence: "a photo of a very long and winding and utterly unreadable description of a bracket ".repeat(2).trim() };
  await assert.rejects(embedPartSheet(sheetOf({ bad: [long] }), { text: SMALL, logitScale: 1, embed }), { code: "prompt-too-long" });
});

test("good and bad words that a tower cannot tell apart are pointed out", async () => {
  const blind = async (rows: Int32Array[]) => rows.map(() => Float32Array.of(1, 0));
  const { warnings } = await embedPartSheet(sheetOf({ bad: ["キズ"] }), { text: SMALL, logitScale: 1, embed: blind });
  assert.ok(warnings.length > 0 && warnings.length <= 12);
  assert.match(
    warnings[0] as string,
    /^"a photo of a flawless surface" \(good\) and "キズ" \(bad\) mean nearly the same to this model \(cosine 1\.000\)$/,
  );
});

test("what a bundle remembers of a sheet is a sentence a row, and the sheet", () => {
  const sheet = sheetOf({ bad: ["キズ"] });
  const { good, bad, sheet: kept } = partWords(sheet, PLAIN);
  assert.equal(bad[0], "a metal bracket with a scratch");
  assert.equal(good.length + bad.length, compilePartSheet(sheet, PLAIN).rows.length);
  assert.equal(kept, sheet);
});

function unit(row: Float32Array): Float32Array {
  const length = Math.hypot(...row);
  return row.map((value) => value / length);
}
