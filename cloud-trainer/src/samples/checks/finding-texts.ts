/**
 * What is said of each kind of finding, as data: severity, and a message and an advice in each language.
 * {count} is the number of pictures; other names in braces are figures of the finding.
 */
export type Language = "en" | "ja";
type Words = { message: string; advice: string };
type Text = { severity: "error" | "warning" } & Record<Language, Words>;

export const FINDING_TEXTS = {
  "empty-file": {
    severity: "error",
    en: { message: "files without a byte: {count}", advice: "copy them again, or remove them" },
    ja: { message: "空のファイルが{count}件あります", advice: "もう一度コピーするか、取り除いてください" },
  },
  "not-a-picture": {
    severity: "error",
    en: { message: "files that are no pictures, whatever their names say: {count}", advice: "replace or remove them" },
    ja: { message: "名前は画像でも中身が画像でないファイルが{count}件あります", advice: "差し替えるか、取り除いてください" },
  },
  unreadable: {
    severity: "error",
    en: {
      message: "pictures that cannot be read: {count} (the first: {why})",
      advice: "copy them again, save them as PNG or JPEG, or remove them",
    },
    ja: {
      message: "読み込めない画像が{count}枚あります(最初の原因:{why})",
      advice: "もう一度コピーするか、PNGかJPEGで保存し直すか、取り除いてください",
    },
  },
  "wrong-ending": {
    severity: "warning",
    en: {
      message: "pictures of another type than their names say: {count} (the first is {type})",
      advice: "rename them, other programs may refuse them",
    },
    ja: { message: "拡張子と中身の形式が違う画像が{count}枚あります(最初の中身は{type})", advice: "拡張子を直してください" },
  },
  "labels-contradict": {
    severity: "error",
    en: {
      message: "pictures that are the same and labelled good here, bad there: {count}",
      advice: "look at them again and keep one label",
    },
    ja: { message: "同じ画像なのに良品と不良品の両方に分類されたものが{count}枚あります", advice: "見直して、どちらか一方にしてください" },
  },
  "alike-contradict": {
    severity: "warning",
    en: {
      message: "pictures that look nearly the same and are labelled good here, bad there: {count}",
      advice: "look at them again: is the defect really visible?",
    },
    ja: {
      message: "ほとんど同じに見えるのに良品と不良品に分かれた画像が{count}枚あります",
      advice: "欠陥が本当に写っているか見直してください",
    },
  },
  "group-on-both-sides": {
    severity: "error",
    en: {
      message: "pictures of groups that stand on both sides of the set's own split: {count}",
      advice: "split it anew with `kenpin data split`: what a model has seen cannot judge it",
    },
    ja: {
      message: "同じグループの画像が学習用と評価用の両方にあります({count}枚)",
      advice: "`kenpin data split` で分け直してください。学習に使ったものでは評価できません",
    },
  },
  "picture-on-both-sides": {
    severity: "error",
    en: {
      message: "pictures that stand on both sides of the set's own split: {count}",
      advice: "split it anew with `kenpin data split`, or remove one of each",
    },
    ja: {
      message: "同じ画像が学習用と評価用の両方にあります({count}枚)",
      advice: "`kenpin data split` で分け直すか、一方を取り除いてください",
    },
  },
  "alike-on-both-sides": {
    severity: "warning",
    en: {
      message: "pictures with a near copy on the other side of the set's own split: {count}",
      advice: "split it anew with `kenpin data split`",
    },
    ja: { message: "ほとんど同じ画像が学習用と評価用に分かれています({count}枚)", advice: "`kenpin data split` で分け直してください" },
  },
  "mask-mismatch": {
    severity: "error",
    en: { message: "masks that do not fit their pictures: {count} (the first: {why})", advice: "export the masks at the pictures' size" },
    ja: { message: "画像に合わないマスクが{count}枚あります(最初:{why})", advice: "画像と同じ大きさで書き出してください" },
  },
  duplicates: {
    severity: "warning",
    en: {
      message: "pictures that are there more than once, byte for byte or pixel for pixel: {count} ({groups} different)",
      advice: "keep one of each: copies weigh more than they should",
    },
    ja: { message: "まったく同じ画像が重複しています({count}枚、{groups}種類)", advice: "1枚ずつ残してください。重複すると重みが偏ります" },
  },
  "near-duplicates": {
    severity: "warning",
    en: {
      message: "pictures that look nearly the same as another: {count} ({groups} groups)",
      advice: "keep each group on one side of a split; `kenpin data split` does so",
    },
    ja: {
      message: "ほかの画像とほとんど同じものが{count}枚あります({groups}組)",
      advice: "学習用と評価用に分けるときは同じ側に置いてください(`kenpin data split` はそうします)",
    },
  },
  "too-small": {
    severity: "warning",
    en: {
      message: "pictures smaller than the model's input of {size} pixels: {count}",
      advice: "enlarged pictures have no more detail: bring the camera closer",
    },
    ja: {
      message: "モデルの入力({size}画素)より小さい画像が{count}枚あります",
      advice: "拡大しても細部は増えません。カメラを近づけてください",
    },
  },
  black: {
    severity: "warning",
    en: { message: "black pictures: {count} (mean grey level below {limit} of 255)", advice: "look at light, lens cap and trigger" },
    ja: {
      message: "真っ黒な画像が{count}枚あります(平均輝度が255段階で{limit}未満)",
      advice: "照明、レンズキャップ、トリガーを確認してください",
    },
  },
  "over-exposed": {
    severity: "warning",
    en: {
      message: "over-exposed pictures: {count} (up to {share} % of the pixels are white, {usual} % is usual in this set)",
      advice: "shorten the exposure",
    },
    ja: {
      message: "白飛びした画像が{count}枚あります(白い画素が最大{share} %、このデータでは通常{usual} %)",
      advice: "露光時間を短くしてください",
    },
  },
  blurred: {
    severity: "warning",
    en: {
      message: "blurred pictures: {count} (sharpness down to {lowest}, {usual} is usual in this set)",
      advice: "look at focus, vibration and exposure time",
    },
    ja: {
      message: "ぼけた画像が{count}枚あります(鮮鋭度の最小は{lowest}、このデータでは通常{usual})",
      advice: "ピント、振動、露光時間を確認してください",
    },
  },
  unlabelled: {
    severity: "warning",
    en: { message: "pictures without a label: {count}", advice: "label them good or bad; without a label they only pretrain" },
    ja: {
      message: "ラベルのない画像が{count}枚あります",
      advice: "良品か不良品かを付けてください。ラベルがないと事前学習にしか使えません",
    },
  },
  "no-good": {
    severity: "warning",
    en: { message: "no picture is labelled good", advice: "add good pictures: what is bad is seen against them" },
    ja: { message: "良品の画像が1枚もありません", advice: "良品の画像を加えてください。不良は良品と比べて見つけます" },
  },
  "no-bad": {
    severity: "warning",
    en: { message: "no picture is labelled bad", advice: "add a few bad pictures: without them nobody can say how many would be missed" },
    ja: { message: "不良品の画像が1枚もありません", advice: "数枚でも加えてください。ないと見逃し率が分かりません" },
  },
  "empty-kind": {
    severity: "warning",
    en: { message: "these folders hold no picture: {folders}", advice: "fill or remove them" },
    ja: { message: "画像のないフォルダがあります:{folders}", advice: "画像を入れるか、取り除いてください" },
  },
  imbalance: {
    severity: "warning",
    en: {
      message: "{good} pictures are good and {bad} bad: one is more than {limit} times the other",
      advice: "collect more of the rarer; training draws both equally often",
    },
    ja: {
      message: "良品{good}枚、不良品{bad}枚で、{limit}倍以上の差があります",
      advice: "少ないほうを増やしてください。学習では両方を同じ頻度で使います",
    },
  },
  "caption-empty": {
    severity: "warning",
    en: {
      message: "pictures without a caption, where others have one: {count}",
      advice: "write one, or they are left out of contrastive training",
    },
    ja: { message: "説明文のない画像が{count}枚あります", advice: "説明文を付けてください。ないと対照学習から外れます" },
  },
  "caption-too-long": {
    severity: "warning",
    en: {
      message: "pictures with a caption longer than the model's {context} tokens: {count} (the longest has {longest})",
      advice: "shorten them: the end is cut off",
    },
    ja: {
      message: "モデルの上限({context}トークン)より長い説明文が{count}枚にあります(最長{longest})",
      advice: "短くしてください。末尾は切り捨てられます",
    },
  },
  "nothing-random": {
    severity: "warning",
    en: {
      message: "of no picture it is known that chance drew it",
      advice: "a set that was picked can train, but no guarantee may rest on it: record the draw probability, or say --drawn-at-random",
    },
    ja: {
      message: "無作為に抜き取られたと分かっている画像がありません",
      advice: "選んだ画像は学習には使えますが、保証の根拠にはなりません。抜き取り確率を記録するか、--drawn-at-random を指定してください",
    },
  },
  skipped: {
    severity: "warning",
    en: { message: "other files, passed over: {count}", advice: "nothing to do, unless one of them should be a picture" },
    ja: { message: "画像でないファイル{count}件を読み飛ばしました", advice: "画像のはずのものがなければ、そのままで構いません" },
  },
} as const satisfies Record<string, Text>;

export type FindingKind = keyof typeof FINDING_TEXTS;

export function wordsOf(kind: FindingKind, language: Language, figures: Record<string, string | number>): Words {
  const fill = (text: string) => text.replace(/\{(\w+)\}/g, (_, name: string) => String(figures[name]));
  const { message, advice } = FINDING_TEXTS[kind][language];
  return { message: fill(message), advice: fill(advice) };
}
