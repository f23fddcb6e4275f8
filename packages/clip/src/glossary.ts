/**
 * What an inspector's words mean in the English that a text tower was trained on: words/glossary.json, which is data.
 * In: a word as people write it, Japanese (kanji, either kana, half or full width) or English. Out: state phrases in which `{}`
 * stands for the object, or the object's name. Written forms are folded before they are compared: NFKC (Unicode annex 15),
 * lower case, hiragana as katakana, no long-vowel mark at the end. An English word that is in no glossary is taken as it is.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { editDistance } from "@kenpin/schema";
import { z } from "zod";

const Terms = z.array(z.string().min(1).max(100));
export const Glossary = z.strictObject({
  states: z.array(
    z.strictObject({
      ja: Terms,
      en: Terms,
      states: z.array(z.string().regex(/\{\}/, "a phrase with {} for the object")).min(1),
      good: z.boolean().default(false),
    }),
  ),
  /** Of a defect that is said not to be there. CLIP's towers hardly read "without": naming the defect would mean it. */
  absent: Terms.min(1),
  objects: z.array(z.strictObject({ ja: Terms, en: z.string().min(1).max(100) })),
  /** Nouns that take no article. */
  uncounted: Terms,
});
export type Glossary = z.infer<typeof Glossary>;

export type Meaning = { states: string[]; side: "good" | "bad" | null; from: "glossary" | "sheet" | "as written" };
/** Words that nothing explains, and what was meant perhaps. */
export type Unknown = { unknown: string; nearest: string[] };

const FILE = join(import.meta.dirname, "../words/glossary.json");
/** More are no help to somebody who misspelt a word. */
const SHOWN = 3;
const JAPANESE_NO = /^(.+?)(?:ノ|ガ|ハ|モ)?(?:無シ|無イ|無|ナシ|ナイ)$/;
const JAPANESE_HAS = /^(.+?)(?:ノ|ガ)?(?:有リ|有ル|有|アリ|アル|発生)$/;
const ENGLISH_NO = /^(?:no|without|free of|free from) (?:an? |any )?(.+)$/;
const LATIN_ONLY = /^[\p{Script=Latin}\p{Script=Common}\p{Script=Inherited}]+$/u;

export function openGlossary(own: Readonly<Record<string, string>> = {}, data: Glossary = readGlossary()) {
  const states = new Map(data.states.flatMap((entry) => [...entry.ja, ...entry.en].map((term) => [folded(term), entry] as const)));
  const objects = new Map(data.objects.flatMap(({ ja, en }) => ja.map((term) => [folded(term), en] as const)));
  const sheet = new Map(Object.entries(own).map(([term, english]) => [folded(term), english]));
  const ofStates = data.states.flatMap(({ ja, en }) => [...ja, ...en]);
  const ofObjects = data.objects.flatMap(({ ja }) => ja);

  const state = (word: string): Meaning | Unknown => {
    const key = folded(word);
    const explained = sheet.get(key);
    if (explained !== undefined) return { states: [phraseOf(explained, data)], side: null, from: "sheet" };
    const known = states.get(key) ?? states.get(key.replace(/s$/, ""));
    if (known) return { states: known.states, side: known.good ? "good" : "bad", from: "glossary" };
    const [, has] = JAPANESE_HAS.exec(key) ?? [];
    if (has !== undefined && states.has(has)) return state(has);
    const [, absent] = JAPANESE_NO.exec(key) ?? ENGLISH_NO.exec(key) ?? [];
    const missing = absent === undefined ? undefined : (states.get(absent) ?? states.get(absent.replace(/s$/, "")));
    if (missing && !missing.good) return { states: data.absent, side: "good", from: "glossary" };
    if (isEnglish(word)) return { states: [phraseOf(word, data)], side: null, from: "as written" };
    return { unknown: word, nearest: nearest(key, [...Object.keys(own), ...ofStates]) };
  };

  /** English, as written or by the glossaries. */
  const object = (word: string): string | Unknown => {
    const key = folded(word);
    const found = sheet.get(key) ?? objects.get(key);
    if (found !== undefined) return found;
    return isEnglish(word) ? plain(word) : { unknown: word, nearest: nearest(key, [...Object.keys(own), ...ofObjects]) };
  };

  return { state, object, takesArticle: (noun: string) => isCounted(noun, data) };
}

let read: Glossary | null = null;
/** Read once. */
export function readGlossary(): Glossary {
  read ??= Glossary.parse(JSON.parse(readFileSync(FILE, "utf8")));
  return read;
}

/** As words are compared, not as they are shown. */
export function folded(word: string): string {
  const small = plain(word).toLowerCase();
  if (isEnglish(small)) return small;
  const kana = small.replaceAll(/[ぁ-ゖ]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) + 0x60));
  return kana.replaceAll(/[\s・]/g, "").replace(/(?<=.)ー$/, "");
}

export function isEnglish(text: string): boolean {
  return LATIN_ONLY.test(text.normalize("NFKC"));
}

function plain(word: string): string {
  return word.normalize("NFKC").trim().replaceAll(/\s+/g, " ");
}

/** An English word or phrase in no glossary: a phrase with `{}`, one that follows the object, an adjective, else a noun. */
function phraseOf(english: string, data: Glossary): string {
  const text = plain(english);
  if (text.includes("{}")) return text;
  if (/^no /i.test(text)) return `{} without ${text.slice(3)}`;
  if (/^(with|without|in|of|on|at|that|which|missing|free|showing)\b/i.test(text)) return `{} ${text}`;
  const isAdjective = !text.includes(" ") && /(ed|less|ful|ous|ive|able|ible|free|[^aeiou]y)$/i.test(text);
  if (isAdjective) return `${text} {}`;
  const hasArticle = /^(an?|the|some|any|one|two|several|many|too|not)\b/i.test(text);
  const isProcess = /(ing|ness|age|ion)$/.test(text); // peeling, roughness, warpage, corrosion
  return `{} with ${hasArticle || isProcess || !isCounted(text, data) ? text : withArticle(text)}`;
}

export function withArticle(noun: string): string {
  return `${/^[aeiou]/i.test(noun) ? "an" : "a"} ${noun}`;
}

/** Neither a plural nor a substance. */
function isCounted(noun: string, { uncounted }: Glossary): boolean {
  const last = noun.toLowerCase().split(" ").at(-1) as string;
  return !uncounted.includes(last) && !/[^su]s$/.test(last);
}

function nearest(key: string, terms: readonly string[]): string[] {
  const away = (term: string) => {
    const other = folded(term);
    const within = other.length > 1 && (key.includes(other) || other.includes(key)) ? 1 : 0;
    return editDistance(key, other) / Math.max(key.length, other.length) - within;
  };
  const ranked = [...new Set(terms)].filter((term) => !isEnglish(term) || isEnglish(key)).map((term) => ({ term, far: away(term) }));
  return ranked
    .filter(({ far }) => far < 0.6)
    .sort((a, b) => a.far - b.far)
    .slice(0, SHOWN)
    .map(({ term }) => term);
}
