/** What a word of the line becomes in a text tower's English, however it is written; the glossary's own data is held together. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { folded, isEnglish, openGlossary, readGlossary } from "../../packages/clip/src/glossary.ts";

const glossary = openGlossary({ テカリ: "glare", 巣箱: "nest box" });
const statesOf = (word: string): string[] => {
  const meaning = glossary.state(word);
  assert.ok("states" in meaning, `${word} is not known`);
  return meaning.states;
};

test("a defect is the same in kanji, in either kana, in half width and with spaces", () => {
  const scratch = statesOf("scratch");
  for (const word of ["キズ", "きず", "ｷｽﾞ", "傷", " キ ズ ", "スクラッチ", "Scratch", "ＳＣＲＡＴＣＨ"]) {
    assert.deepEqual(statesOf(word), scratch, word);
  }
  assert.deepEqual(statesOf("cracks"), statesOf("crack"));
  assert.deepEqual(statesOf("スパッター"), statesOf("スパッタ"));
  assert.deepEqual(statesOf("はんだブリッジ"), statesOf("ハンダ・ブリッジ"));
});

test("the words of Japanese factories are known", () => {
  const words = `キズ 傷 スリキズ 打痕 凹み 汚れ シミ 欠け チッピング 割れ クラック 異物 異物混入 バリ 錆 サビ 変色 色ムラ 気泡 ピンホール ボイド 剥がれ ほつれ
    しわ 歪み 変形 曲がり 欠品 位置ズレ 印字不良 かすれ にじみ 焦げ 未充填 ショートショット ヒケ ウェルド フラッシュ 巣 湯境 溶け込み不足 スパッタ 反り 油汚れ 指紋 ホコリ
    毛髪 切粉 破れ 穴 腐食 曇り 打ち傷 擦れ へこみ ひび割れ 破損 亀裂 浮き メッキ剥がれ 塗装ムラ タレ ゆず肌 ブツ 逆付け 断線 はんだ不良 ピン曲がり 緩み 漏れ 良品 正常 無傷 きれい`;
  const list = words.trim().split(/\s+/);
  assert.ok(list.length >= 60);
  for (const word of list) assert.ok("states" in glossary.state(word), word);
  for (const word of ["ブラケット", "歯車", "基板", "布", "ゴムパッキン", "ﾈｼﾞ", "Ｏリング"])
    assert.equal(typeof glossary.object(word), "string", word);
});

test("a defect that is absent is a good state whose sentences do not name it, one that is there stays a defect", () => {
  for (const word of ["キズなし", "傷無し", "キズのない", "no scratch", "without a scratch"]) {
    const meaning = glossary.state(word);
    assert.ok("side" in meaning && meaning.side === "good", word);
    assert.deepEqual(meaning.states, ["flawless {}", "{} without defects"]);
  }
  assert.deepEqual(statesOf("キズあり"), statesOf("キズ"));
});

test("English that is in no glossary is taken as it is: a noun, a plural, an adjective, a phrase", () => {
  const wanted = {
    "torn logo": "{} with a torn logo",
    "odd marks": "{} with odd marks",
    "green rust": "{} with green rust",
    "oily smell": "{} with an oily smell",
    kink: "{} with a kink",
    riveted: "riveted {}",
    "missing its logo": "{} missing its logo",
    "an oval {} seen from above": "an oval {} seen from above",
  };
  for (const [word, phrase] of Object.entries(wanted)) assert.deepEqual(statesOf(word), [phrase]);
});

test("the sheet's own words come before the glossary", () => {
  assert.deepEqual(glossary.state("てかり"), { states: ["{} with glare"], side: null, from: "sheet" });
  assert.equal(glossary.object("巣箱"), "nest box");
  assert.deepEqual(openGlossary({ キズ: "crack" }).state("キズ"), { states: ["{} with a crack"], side: null, from: "sheet" });
});

test("a Japanese word that nobody explains is unknown, with the nearest that are", () => {
  assert.deepEqual(glossary.state("線きずだ"), { unknown: "線きずだ", nearest: ["線キズ", "キズ"] });
  assert.deepEqual(glossary.object("ブラケツト"), { unknown: "ブラケツト", nearest: ["ブラケット", "金属ブラケット"] });
  assert.ok("unknown" in glossary.state("царапина"), "no text tower here reads Russian");
});

test("no term of the glossary means two things, and every meaning is English with a place for the object", () => {
  const { states, objects } = readGlossary();
  const lists = [states.map(({ ja, en }) => [...ja, ...en]), objects.map(({ ja }) => ja)];
  for (const list of lists) {
    const seen = new Set<string>();
    for (const term of list.flat()) {
      assert.ok(!seen.has(folded(term)), `${term} stands twice`);
      seen.add(folded(term));
    }
  }
  for (const { states: phrases } of states)
    for (const phrase of phrases) assert.ok(isEnglish(phrase) && phrase.split("{}").length === 2, phrase);
  for (const { ja, en } of states) assert.ok(ja.every((term) => !isEnglish(term) || /^[A-Z]/.test(term)) && en.every(isEnglish), ja[0]);
  for (const { en } of objects) assert.ok(isEnglish(en));
});
