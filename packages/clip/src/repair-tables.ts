/**
 * Tables of text repair: code pages, entities and the patterns of badly decoded text, read once when first needed.
 * See vocabulary/README.md for where they come from.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

export type CodePage = {
  name: string;
  /** Byte → character, 256 of them. */
  letters: string[];
  bytes: Map<string, number>;
  /** Unassigned bytes stand for themselves, and 0x1A for a letter that was lost. */
  sloppy: boolean;
};
export type RepairTables = {
  badness: RegExp;
  detector: RegExp;
  pages: CodePage[];
  ligatures: Map<string, string>;
  /** Named references as HTML has them, "amp;" and "amp" both. */
  entities: Map<string, string>;
  /** Names in capitals that HTML does not know and people write. */
  shouted: Map<string, string>;
  /** Numbers that HTML gives another character, and those it drops. */
  charrefs: Map<number, string>;
  dropped: Set<number>;
};

type File = Record<"badness" | "detector", string> &
  Record<"pages" | "ligatures" | "entities" | "shouted" | "charrefs", Record<string, string>> & { codepoints: number[] };

let tables: RepairTables | null = null;

export function repairTables(): RepairTables {
  tables ??= readTables();
  return tables;
}

function readTables(): RepairTables {
  const packed = readFileSync(join(import.meta.dirname, "../vocabulary/repair.json.gz"));
  const file = JSON.parse(gunzipSync(packed).toString("utf8")) as File;
  return {
    badness: new RegExp(file.badness, "u"),
    detector: new RegExp(file.detector, "gu"),
    pages: Object.entries(file.pages).map(([name, high]) => pageOf(name, high)),
    ligatures: new Map(Object.entries(file.ligatures)),
    entities: new Map(Object.entries(file.entities)),
    shouted: new Map(Object.entries(file.shouted)),
    charrefs: new Map(Object.entries(file.charrefs).map(([number, text]) => [Number(number), text])),
    dropped: new Set(file.codepoints),
  };
}

function pageOf(name: string, high: string): CodePage {
  const sloppy = name.startsWith("sloppy-");
  const letters = Array.from({ length: 256 }, (_, byte) => (byte < 128 ? String.fromCharCode(byte) : (high[byte - 128] as string)));
  if (sloppy) letters[0x1a] = "\ufffd";
  return { name, letters, sloppy, bytes: new Map(letters.map((letter, byte) => [letter, byte])) };
}
