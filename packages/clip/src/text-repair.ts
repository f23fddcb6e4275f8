// biome-ignore-all lint/suspicious/noControlCharactersInRegex: control characters are what is looked for here
/**
 * Text as CLIP's tokenizer cleans it first: what ftfy 6.3.1's fix_text does (github.com/rspeer/python-ftfy), then HTML's
 * character references. In: any text. Out: text decoded anew where it was decoded wrongly ("schÃ¶n" → "schön"), with full
 * and half width letters made plain (Ａ → A, ｱ → ア), straight quotes, no control characters, in normal form C.
 */
import { type CodePage, repairTables } from "./repair-tables.ts";

/** No text needs more; two rules that undo each other would never end. */
const ROUND_LIMIT = 64;

export function repairText(text: string): string {
  let references = true;
  const lines = text.toWellFormed().match(/[^\n]*\n|[^\n]+/g) ?? [];
  return lines
    .map((line) => {
      if (line.includes("<")) references = false; // HTML: from here on an entity is meant as it stands
      return repairLine(line, references);
    })
    .join("");
}

/** Python's html.unescape: references with and without their semicolon, numbers by HTML's table. */
export function unescapeHtml(text: string): string {
  return text.replaceAll(/&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu, (_, reference: string) => {
    if (reference.startsWith("#")) return numbered(reference);
    const { entities } = repairTables();
    const whole = entities.get(reference);
    if (whole !== undefined) return whole;
    const letters = [...reference];
    for (let length = letters.length - 1; length > 1; length--) {
      const front = entities.get(letters.slice(0, length).join(""));
      if (front !== undefined) return front + letters.slice(length).join("");
    }
    return `&${reference}`;
  });
}

function repairLine(line: string, references: boolean): string {
  let text = line;
  for (let round = 0; round < ROUND_LIMIT; round++) {
    const before = text;
    if (references) text = unescapeSafely(text);
    text = plainLetters(decodeAnew(text)).normalize("NFC");
    if (text === before) break;
  }
  return text;
}

/** Only references that end in a semicolon: "this&not that" is no "¬". */
function unescapeSafely(text: string): string {
  const { entities, shouted } = repairTables();
  return text.replaceAll(/&#?[0-9A-Za-z]{1,24};/g, (whole) => {
    const named = entities.get(whole.slice(1)) ?? shouted.get(whole.slice(1));
    if (named !== undefined || !whole.startsWith("&#")) return named ?? whole;
    const unescaped = unescapeHtml(whole);
    return unescaped.includes(";") ? whole : unescaped;
  });
}

function numbered(reference: string): string {
  const { charrefs, dropped } = repairTables();
  const digits = reference.replace(/^#[xX]?/, "").replace(";", "");
  const number = Number.parseInt(digits, /^#[xX]/.test(reference) ? 16 : 10);
  const known = charrefs.get(number);
  if (known !== undefined) return known;
  if ((number >= 0xd800 && number <= 0xdfff) || number > 0x10ffff) return "\ufffd";
  return dropped.has(number) ? "" : String.fromCodePoint(number);
}

/** Control characters, ligatures, widths, quotes, line ends. */
function plainLetters(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  const { ligatures } = repairTables();
  return fixControls(text)
    .replaceAll(/[\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb06]/g, (letter) => ligatures.get(letter) ?? letter)
    .replaceAll(/[\u3000\uff01-\uffef]/g, (letter) => (letter === "\u3000" ? " " : letter.normalize("NFKC")))
    .replaceAll(/[\u201c-\u201f]/g, '"')
    .replaceAll(/[\u02bc\u2018-\u201b]/g, "'")
    .replaceAll(/\r\n|[\r\u2028\u2029\u0085]/g, "\n")
    .replaceAll(/\x1b\[(?:\p{Nd}|;)*[a-zA-Z]/gu, "")
    .replaceAll(/[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g, "");
}

/** C1 control characters are meant as Windows-1252. */
function fixControls(text: string): string {
  const { pages } = repairTables();
  const western = pages.find(({ name }) => name === "sloppy-windows-1252") as CodePage;
  return text.replaceAll(/[\x80-\x9f]/g, (control) => western.letters[control.charCodeAt(0)] as string);
}

function decodeAnew(text: string): string {
  let now = text;
  for (let round = 0; round < ROUND_LIMIT; round++) {
    const next = decodeOnce(now);
    if (next === now) break;
    now = next;
  }
  return now;
}

/** UTF-8 that was read as one of the code pages is read as UTF-8, whole or in the places that look like it. */
function decodeOnce(text: string): string {
  const { badness, detector, pages } = repairTables();
  if (/^[\0-\x7f]*$/.test(text) || !badness.test(text)) return text;
  for (const page of pages) {
    const bytes = encode(text, page);
    if (bytes === null) continue;
    const decoded = decodeUtf8(replaceLost(restoreSpaces(bytes, page), page));
    if (decoded !== null) return decoded;
  }
  const inPlaces = text.replaceAll(detector, (piece) => (piece.length < text.length && badness.test(piece) ? decodeAnew(piece) : piece));
  if (inPlaces !== text) return inPlaces;
  return fixControls(text);
}

/** One character a byte, or null where a letter is not in the page. */
function encode(text: string, page: CodePage): string | null {
  let out = "";
  for (const letter of text) {
    const byte = page.bytes.get(letter);
    if (byte === undefined) return null;
    out += String.fromCharCode(byte);
  }
  return out;
}

/** Byte A0 that somebody took for a space, where UTF-8 needs it; an en dash before a space looks alike in Mac Roman. */
function restoreSpaces(bytes: string, { name }: CodePage): string {
  const lost =
    /[\xc2\xc3\xc5\xce\xd0\xd9] |[\xe2\xe3] [\x80-\x84\x86-\x9f\xa1-\xbf]|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf] |\xf0 [\x80-\xbf][\x80-\xbf]|\xf0[\x80-\xbf] [\x80-\xbf]|\xf0[\x80-\xbf][\x80-\xbf] /g;
  if (name === "macroman" || bytes.search(lost) < 0) return bytes;
  return bytes.replaceAll(/\xc3 (?! |quele|quela|quilo|s )/g, "\xc3\xa0 ").replaceAll(lost, (sequence) => sequence.replaceAll(" ", "\xa0"));
}

/** UTF-8 whose continuation bytes were lost (0x1A) becomes U+FFFD's own bytes. */
function replaceLost(bytes: string, { sloppy }: CodePage): string {
  if (!sloppy) return bytes;
  return bytes.replaceAll(
    /[\xc2-\xdf]\x1a|[\xc2\xc3]\?|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]|\x1a/g,
    "\xef\xbf\xbd",
  );
}

/** UTF-8, CESU-8's surrogate pairs and Java's C0 80 for zero; null when it is none of them. */
function decodeUtf8(bytes: string): string | null {
  const plain = bytes
    .replaceAll("\xc0\x80", "\0")
    .replaceAll(/\xed([\xa0-\xaf])([\x80-\xbf])\xed([\xb0-\xbf])([\x80-\xbf])/g, (...parts) => {
      const [a, b, c, d] = parts.slice(1, 5).map((part) => String(part).charCodeAt(0)) as [number, number, number, number];
      const point = ((a & 0x0f) << 16) + ((b & 0x3f) << 10) + ((c & 0x0f) << 6) + (d & 0x3f) + 0x10000;
      return [0xf0 | (point >> 18), 0x80 | ((point >> 12) & 63), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63)]
        .map((byte) => String.fromCharCode(byte))
        .join("");
    });
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(plain, (letter) => letter.charCodeAt(0)));
  } catch {
    return null;
  }
}
