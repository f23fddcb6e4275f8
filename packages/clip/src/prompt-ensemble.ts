/**
 * A part sheet as prompts, by the compositional ensemble of WinCLIP (arXiv 2303.14814): object × state × template.
 * In: a sheet, and which texts the tower was trained on. Out: one row a state, each with every text whose embeddings are averaged
 * to one, brought to length 1. words/ensemble.json holds the templates: "plain" are the captions of kenpin's own models, where
 * stand-ins speak for an object that a small vocabulary may not know, and the general sentences are those that the base's patches
 * were held against; "photographic" are for published models.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KenpinError, type PartSheet, type PartWords, StateWord } from "@kenpin/schema";
import { z } from "zod";
import { isEnglish, type Meaning, openGlossary, type Unknown, withArticle } from "./glossary.ts";
import type { ModelConfig } from "./model-config.ts";

const Template = z.string().regex(/\{\}/);
const Ensemble = z.strictObject({
  /** What is said of any part: whole sentences, or words for the templates. */
  general: z.strictObject({ good: z.array(StateWord).min(1), bad: z.array(StateWord).min(1) }),
  templates: z.array(Template).min(1),
  /** Said of the object too, for a tower that may not know its name. */
  standIns: z.array(z.string().min(1)),
});
export type Ensemble = z.infer<typeof Ensemble>;
const Ensembles = z.strictObject({ plain: Ensemble, photographic: Ensemble });

export type PromptRow = {
  side: "good" | "bad";
  /** As the person wrote it. */
  word: string;
  /** The shortest sentence, for people. */
  text: string;
  weight: number;
  /** Where the word's meaning came from. */
  from: "glossary" | "sheet" | "as written" | "sentence" | "general";
  /** What is embedded and averaged. */
  texts: string[];
};
export type CompiledSheet = { object: string; rows: PromptRow[]; warnings: string[] };

type Glossary = ReturnType<typeof openGlossary>;
type Noun = { bare: string; whole: string };

const FILE = join(import.meta.dirname, "../words/ensemble.json");
/** CLIP's own vocabulary; a model with less has not been trained on the world's captions. */
const CLIP_MERGES = 48_894;

/** The ensemble that serves what a tower was trained on. */
export function ensembleFor({ merges }: Pick<ModelConfig["text"], "merges">): Ensemble {
  const { plain, photographic } = Ensembles.parse(JSON.parse(readFileSync(FILE, "utf8")));
  return merges < CLIP_MERGES ? plain : photographic;
}

/** Fails with `word-unknown`, naming every word that neither the glossary nor the sheet explains. */
export function compilePartSheet(sheet: PartSheet, ensemble: Ensemble): CompiledSheet {
  const glossary = openGlossary(sheet.words);
  const object = glossary.object(sheet.object);
  const states = (["good", "bad"] as const).flatMap((side) => [
    ...sheet[side].map((state) => ({ side, ...spoken(state, glossary) })),
    ...(sheet.general > 0 ? ensemble.general[side] : []).map((state) => ({
      side,
      ...spoken(state, glossary),
      weight: sheet.general,
      isGeneral: true,
    })),
  ]);
  const unknown = [object, ...states.map(({ meaning }) => meaning)].filter(isUnknown);
  if (unknown.length > 0) throw unknownWords(sheet, unknown);
  const nouns = [object as string, ...ensemble.standIns].map((noun) => nounOf(noun, glossary));
  const rows = states.map(({ side, word, weight, meaning, isGeneral }): PromptRow => {
    const { states: phrases, from: source } = meaning as Exclude<typeof meaning, Unknown>;
    const from = isGeneral ? "general" : source;
    if (source === "sentence") return { side, word, text: word, weight, from, texts: phrases };
    const named = nouns.flatMap((noun) => phrases.map((phrase) => filled(phrase, noun)));
    const texts = named.flatMap((text) => ensemble.templates.map((template) => template.replaceAll("{}", text)));
    return { side, word, text: named[0] as string, weight, from, texts: [...new Set(texts)] };
  });
  const misplaced = states.filter(({ side, meaning }) => "side" in meaning && meaning.side !== null && meaning.side !== side);
  const warnings = misplaced.map(({ side, word }) => `"${word}" stands under ${side}, but the glossary knows it as ${opposite(side)}`);
  return { object: (nouns[0] as Noun).whole, rows, warnings };
}

/** What a bundle remembers of a sheet: one sentence a row, and the sheet itself. */
export function partWords(sheet: PartSheet, ensemble: Ensemble): PartWords {
  const { rows } = compilePartSheet(sheet, ensemble);
  const of = (wanted: string) => rows.filter(({ side }) => side === wanted).map(({ text }) => text);
  return { good: of("good"), bad: of("bad"), sheet };
}

type Spoken = { word: string; weight: number; meaning: Meaning | Unknown | Sentence; isGeneral?: boolean };
type Sentence = { states: string[]; side: null; from: "sentence" };

function spoken(state: StateWord, glossary: Glossary): Spoken {
  if (typeof state === "string") return { word: state, weight: 1, meaning: glossary.state(state) };
  if ("say" in state) return { word: state.say, weight: state.weight, meaning: glossary.state(state.say) };
  const { sentence, weight } = state;
  if (!isEnglish(sentence)) return { word: sentence, weight, meaning: { unknown: sentence, nearest: [] } };
  return { word: sentence, weight, meaning: { states: [sentence], side: null, from: "sentence" } };
}

function isUnknown(meaning: string | object): meaning is Unknown {
  return typeof meaning === "object" && "unknown" in meaning;
}

function unknownWords({ part }: PartSheet, words: Unknown[]): KenpinError {
  const shown = words.map(({ unknown, nearest }) => {
    const word = unknown.length > 40 ? `${unknown.slice(0, 40)}…` : unknown;
    return { word, hint: `"${word}"${nearest.length > 0 ? ` (nearest: ${nearest.join(", ")})` : ""}` };
  });
  const hints = shown.map(({ hint }) => hint).join(", ");
  const how = `say it in English in the sheet, as words: {${shown[0]?.word}: glare}`;
  return new KenpinError("word-unknown", `part ${part}: the glossary does not know ${hints}; use one that it knows, or ${how}`);
}

function nounOf(noun: string, { takesArticle }: Glossary): Noun {
  const bare = noun.replace(/^(an?|the) /i, "");
  return { bare, whole: bare !== noun ? noun : takesArticle(noun) ? withArticle(noun) : noun };
}

/** "{} with a scratch" takes the object with its article, "scratched {}" puts the article in front of both. */
function filled(phrase: string, { bare, whole }: Noun): string {
  if (phrase.startsWith("{}")) return phrase.replace("{}", whole);
  const text = phrase.replace("{}", bare);
  return bare === whole || /^(an?|the|no|some|two|several|many) /i.test(phrase) ? text : withArticle(text);
}

function opposite(side: PromptRow["side"]): PromptRow["side"] {
  return side === "good" ? "bad" : "good";
}
