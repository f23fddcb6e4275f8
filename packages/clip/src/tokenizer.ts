/**
 * CLIP's byte-pair tokenizer (Radford et al. 2021; github.com/openai/CLIP), as open_clip runs it: text repaired, lower case,
 * words split by one pattern, each word's bytes merged in the order of the merge list.
 * In: text. Out: `context` ids: start, tokens, end, zeros;
 * a longer text is cut and keeps its end token. A shorter merge list gives a smaller vocabulary that spells any text.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { repairText, unescapeHtml } from "./text-repair.ts";

export type Tokenizer = { encode: (text: string) => Int32Array; startId: number; endId: number };

const VOCABULARY = join(import.meta.dirname, "../vocabulary/merges.txt.gz");
/** What Python calls whitespace, which JavaScript's \s is not quite. */
const SPACE = "\\t-\\r\\x1c-\\x1f \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const SPACES = new RegExp(`[${SPACE}]+`, "gu");
const PATTERN = new RegExp(`<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\\p{L}+|\\p{N}|[^${SPACE}\\p{L}\\p{N}]+`, "giu");
/** A month of new words in a process that never ends is still little memory. */
const CACHE_LIMIT = 50_000;

export function createTokenizer({ merges, context }: { merges: number; context: number }): Tokenizer {
  const lines = readMerges(merges);
  const bytes = byteLetters();
  const ranks = new Map(lines.map((line, rank) => [line, rank]));
  const words = [...bytes.table, ...bytes.table.map((letter) => `${letter}</w>`), ...lines.map((line) => line.replace(" ", ""))];
  const ids = new Map(words.map((word, id) => [word, id]));
  const [startId, endId] = [words.length, words.length + 1];
  const special = new Map([
    ["<start_of_text>", startId],
    ["<end_of_text>", endId],
  ]);
  const cache = new Map<string, number[]>();

  const wordIds = (word: string): number[] => {
    const known = cache.get(word);
    if (known) return known;
    const letters = [...new TextEncoder().encode(word)].map((byte) => bytes.letter[byte] as string);
    letters.push(`${letters.pop()}</w>`);
    const found = mergeAll(letters, ranks).map((part) => ids.get(part) as number);
    if (cache.size >= CACHE_LIMIT) cache.clear();
    cache.set(word, found);
    return found;
  };

  const encode = (text: string): Int32Array => {
    const found = [...clean(text).matchAll(PATTERN)].flatMap(([word]) => special.get(word) ?? wordIds(word));
    const out = new Int32Array(context);
    out.set([startId, ...found.slice(0, context - 2), endId]);
    return out;
  };
  return { encode, startId, endId };
}

/** The first `count` merges of CLIP's list, "left right" each. */
export function readMerges(count: number): string[] {
  return gunzipSync(readFileSync(VOCABULARY)).toString("utf8").split("\n").slice(0, count);
}

/** open_clip's cleaning: repair, HTML unescaped twice, single spaces, lower case. */
function clean(text: string): string {
  const plain = unescapeHtml(unescapeHtml(repairText(text)));
  return plain.replaceAll(SPACES, " ").replaceAll(/^ | $/g, "").toLowerCase();
}

/** Merges the pair of lowest rank, wherever it stands, until no pair is in the list. */
function mergeAll(parts: string[], ranks: Map<string, number>): string[] {
  const rankOf = (left: string, right: string) => ranks.get(`${left} ${right}`) ?? Number.POSITIVE_INFINITY;
  let word = parts;
  let pairs = word.slice(1).map((right, i) => rankOf(word[i] as string, right)); // pairs[i]: rank of word[i], word[i + 1]
  for (;;) {
    let best = Number.POSITIVE_INFINITY;
    for (const rank of pairs) if (rank < best) best = rank;
    if (best === Number.POSITIVE_INFINITY) return word;
    const [next, nextPairs]: [string[], number[]] = [[], []];
    let changed = false;
    for (let i = 0; i < word.length; i++) {
      const joins = pairs[i] === best;
      const part = joins ? `${word[i]}${word[i + 1]}` : (word[i] as string);
      // Only pairs that touch a new part have a new rank.
      if (next.length > 0) nextPairs.push(joins || changed ? rankOf(next.at(-1) as string, part) : (pairs[i - 1] as number));
      next.push(part);
      changed = joins;
      if (joins) i++;
    }
    word = next;
    pairs = nextPairs;
  }
}

/** GPT-2's reversible bytes: printable ones stand for themselves, the rest for letters from U+0100 on. */
function byteLetters(): { letter: string[]; table: string[] } {
  const printable = [...range(33, 126), ...range(161, 172), ...range(174, 255)];
  const rest = range(0, 255).filter((byte) => !printable.includes(byte));
  const letter: string[] = [];
  for (const byte of printable) letter[byte] = String.fromCodePoint(byte);
  for (const [i, byte] of rest.entries()) letter[byte] = String.fromCodePoint(256 + i);
  return { letter, table: [...printable, ...rest].map((byte) => letter[byte] as string) };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}
