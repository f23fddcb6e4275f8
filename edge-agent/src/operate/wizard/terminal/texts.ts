/** What the set-up says on a terminal, in English and Japanese; which of the two, the locale of the environment decides. */
import type { Work } from "@kenpin/schema";
import { MEANING } from "../meaning.ts";

const en = {
  ...MEANING.en,
  keep: (count: number) => `The agent already holds ${count} pictures of a set-up. Keep them? [Y/n] `,
  askPictures: "1/5  Pictures: a folder of them, good and bad mixed (Enter: none) ",
  askGood: (count: number) =>
    count === 0
      ? "2/5  Good parts: a folder of their pictures (Enter: none) "
      : `2/5  Good parts: a folder of their pictures, or "all" for the ${count} above (Enter: none) `,
  askBad: "     Bad parts: a folder of their pictures (Enter: none) ",
  askObject: "3/5  What is it? For example metal bracket, or a part sheet: a .yaml file (Enter: not said) ",
  askDefects: "     What may be wrong? For example scratch, dent, stain (Enter: not said) ",
  askMaps: "4/5  A folder to write heat maps to (Enter: none) ",
  askAsTheyCame: "5/5  Were the labelled pictures taken as they came from the line, none picked? [y/N] ",
  askCut: (cut: string) => `     Threshold, from 0 to 1 (Enter: the proposed ${cut}) `,
  askSave: "     Save, and decide by it from the next part on? [Y/n] ",
  notSaved: "Nothing was saved.",
  wordsStay: "Words: those in use stay.",
  wordsFixed: "This bundle brings no model of words, so those in use stay; pictures and threshold can be chosen.",
  words: "What the model reads:",
  good: "good",
  bad: "bad",
  unsorted: "not sorted",
  added: (count: number, folder: string) => `${count} pictures of ${folder}`,
  adding: "Adding pictures",
  writingMaps: "Writing heat maps",
  work: {
    words: "Preparing the words",
    teaching: "Teaching the labelled pictures",
    looking: "Looking at the pictures",
    proving: "Proving",
  } satisfies Record<Work["what"], string>,
  secondsLeft: (seconds: number) => (seconds < 90 ? `about ${seconds} s left` : `about ${Math.round(seconds / 60)} min left`),
  mapsWritten: (count: number, folder: string) => `${count} heat maps are in ${folder}`,
  mostUnusual: "The most unusual first:",
  more: (count: number) => `and ${count} more`,
  threshold: (cut: string) => `Threshold ${cut}: parts that score so much or more are stopped.`,
  thresholdWithBand: (cut: string, pass: string, fail: string) =>
    `Threshold ${cut}: from ${fail} on a part is stopped, below ${pass} it passes, between them the answer is “unknown”, for a person to look at.`,
  chosenBy: (how: string) => `Proposed by ${how}.`,
  saving: "Proving and taking over…",
  saved: (version: number, settings: string) => `Version ${version} (settings ${settings}), signed by this device, decides from now on.`,
};

const ja: Texts = {
  ...MEANING.ja,
  keep: (count) => `エージェントには作成中の設定の画像が${count}枚あります。続きから始めますか？ [Y/n] `,
  askPictures: "1/5  画像のフォルダ（良品と不良品が混ざっていてもかまいません。Enterで省略） ",
  askGood: (count) =>
    count === 0
      ? "2/5  良品の画像のフォルダ（Enterで省略） "
      : `2/5  良品の画像のフォルダ。上の${count}枚がすべて良品なら「all」（Enterで省略） `,
  askBad: "     不良品の画像のフォルダ（Enterで省略） ",
  askObject: "3/5  検査する物は何ですか？ 例: 金属ブラケット。部品シート（.yamlファイル）でもかまいません（Enterで省略） ",
  askDefects: "     起こりうる不良は？ 例: キズ、打痕、汚れ（Enterで省略） ",
  askMaps: "4/5  ヒートマップを書き出すフォルダ（Enterで省略） ",
  askAsTheyCame: "5/5  ラベルを付けた画像は、選り好みせず、ラインから流れてきた順に撮ったものですか？ [y/N] ",
  askCut: (cut) => `     しきい値、0から1（Enterで提案の${cut}） `,
  askSave: "     保存して、次の製品からこれで判定しますか？ [Y/n] ",
  notSaved: "何も保存していません。",
  wordsStay: "言葉: 使用中の言葉のままです。",
  wordsFixed: "このバンドルには言葉のモデルが含まれないため、使用中の言葉のままです。画像としきい値は選べます。",
  words: "モデルが読む文:",
  good: "良品",
  bad: "不良品",
  unsorted: "未分類",
  added: (count, folder) => `${folder} の画像${count}枚`,
  adding: "画像を追加しています",
  writingMaps: "ヒートマップを書き出しています",
  work: {
    words: "言葉を準備しています",
    teaching: "ラベル付きの画像を教えています",
    looking: "画像を見ています",
    proving: "検証しています",
  },
  secondsLeft: (seconds) => (seconds < 90 ? `残り約${seconds}秒` : `残り約${Math.round(seconds / 60)}分`),
  mapsWritten: (count, folder) => `ヒートマップ${count}枚を ${folder} に書き出しました`,
  mostUnusual: "通常と異なるものから順に:",
  more: (count) => `ほか${count}枚`,
  threshold: (cut) => `しきい値 ${cut}: スコアがこれ以上の製品は不合格です。`,
  thresholdWithBand: (cut, pass, fail) =>
    `しきい値 ${cut}: ${fail}以上は不合格、${pass}未満は合格、その間は「判定不能」で、人が確認します。`,
  chosenBy: (how) => `提案の根拠: ${how}`,
  saving: "検証して切り替えています…",
  saved: (version, settings) => `これからバージョン${version}（設定 ${settings}、この装置の署名）で判定します。`,
};

export type Texts = typeof en;

/** As POSIX has it: LC_ALL before LC_MESSAGES before LANG, empty ones aside. */
export function textsOf({ LC_ALL, LC_MESSAGES, LANG }: Record<string, string | undefined>): Texts {
  return (LC_ALL || LC_MESSAGES || LANG || "").toLowerCase().startsWith("ja") ? ja : en;
}
