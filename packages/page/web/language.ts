/**
 * The two languages of a page: which one is shown, and the texts that the agent's page and the hub's have in common. Each page adds its
 * own to WORDS; a text that only one language has does not compile.
 */
import type { Verdict } from "@kenpin/schema";
import { useEffect, useState } from "preact/hooks";

export type Language = "en" | "ja";
export type Words = typeof en;

const en = {
  otherLanguage: "日本語",
  signOut: "Sign out",
  live: "Live",
  loading: "Loading…",
  pass: "Pass",
  fail: "Fail",
  unknown: "Unknown",
  good: "Good",
  bad: "Bad",
  heatMap: "Heat map",
  opacity: "Opacity",
  mapAlt: "Where the part looks unusual",
  partAlt: "The inspected part",
  score: "Score",
  threshold: "Threshold",
  camera: "Camera",
  time: "Inspected in",
  closest: "Closest words",
  bundle: "Bundle",
  reasons: {
    "camera-frozen": "camera frozen",
    "camera-black": "picture black",
    "camera-blurred": "picture blurred",
    "camera-overexposed": "picture over-exposed",
    "out-of-domain": "not the part that was taught",
    "frame-unreadable": "picture unreadable",
    "frame-missing": "no picture came",
    "queue-full": "too many parts at once",
    "model-not-ready": "model not ready",
    "inspector-failed": "inspection failed",
    "deadline-missed": "too late for the line",
    "undecided-band": "between the thresholds",
  } satisfies Record<NonNullable<Verdict["reason"]>, string>,
};

const ja: Words = {
  otherLanguage: "English",
  signOut: "サインアウト",
  live: "ライブ",
  loading: "読み込み中…",
  pass: "合格",
  fail: "不合格",
  unknown: "判定不能",
  good: "良品",
  bad: "不良品",
  heatMap: "ヒートマップ",
  opacity: "濃さ",
  mapAlt: "通常と異なる箇所",
  partAlt: "検査した製品",
  score: "スコア",
  threshold: "しきい値",
  camera: "カメラ",
  time: "検査時間",
  closest: "最も近い言葉",
  bundle: "バンドル",
  reasons: {
    "camera-frozen": "カメラ停止",
    "camera-black": "画像が真っ黒",
    "camera-blurred": "画像のぼけ",
    "camera-overexposed": "露出オーバー",
    "out-of-domain": "学習した品物と異なる画像",
    "frame-unreadable": "画像を読めません",
    "frame-missing": "画像が届かない",
    "queue-full": "処理待ちが満杯",
    "model-not-ready": "モデル準備中",
    "inspector-failed": "検査に失敗",
    "deadline-missed": "時間切れ",
    "undecided-band": "しきい値の間",
  },
};

export const WORDS: Record<Language, Words> = { en, ja };

/** The language chosen here before, else the browser's. In: the name it is remembered by, and a page's texts. */
export function useLanguage<T>(rememberedAs: string, texts: Record<Language, T>) {
  const [language, setLanguage] = useState<Language>(() => firstLanguage(rememberedAs));
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const switchLanguage = () => {
    const other = language === "en" ? "ja" : "en";
    localStorage.setItem(rememberedAs, other);
    setLanguage(other);
  };
  return { language, t: texts[language], switchLanguage };
}

export function timeText(at: string, language: Language): string {
  return new Date(at).toLocaleString(language, { dateStyle: "medium", timeStyle: "medium" });
}

function firstLanguage(rememberedAs: string): Language {
  const remembered = localStorage.getItem(rememberedAs);
  if (remembered === "en" || remembered === "ja") return remembered;
  return navigator.language.toLowerCase().startsWith("ja") ? "ja" : "en";
}
