/**
 * A person's words in a set-up: what each becomes, and their embeddings by the bundle's own text tower, where it brings one.
 * In: an object and lists of words, Japanese or English. Out: a part sheet, the sentences, and prompts that decide.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { compilePartSheet, embedPartSheet, ensembleFor } from "@kenpin/clip";
import { embedTexts } from "@kenpin/inspector";
import { KenpinError, parseAtDoor, PartSheet, PromptSet, TextTower, type Words, type WordsRequest } from "@kenpin/schema";
import type { Setup } from "../../setup.ts";

const NO_OBJECT = "part";

export async function readPrompts(folder: string): Promise<PromptSet> {
  return parseAtDoor(PromptSet, JSON.parse(await readFile(join(folder, "prompts.json"), "utf8")), "prompts.json");
}

export function canEmbed({ manifest }: Setup): boolean {
  return manifest.files["text.onnx"] !== undefined && manifest.files["text.json"] !== undefined;
}

/** null where nothing was said: the bundle's own words stay. */
export function sheetOf({ object, good, bad }: WordsRequest, part: string): PartSheet | null {
  if (object === "" && good.length === 0 && bad.length === 0) return null;
  const said = { ...(good.length > 0 && { good }), ...(bad.length > 0 && { bad }) };
  return parseAtDoor(PartSheet, { part, object: object || NO_OBJECT, ...said }, "the words");
}

/** What each word becomes; fails with `word-unknown`, naming the nearest ones. */
export async function compiled(setup: Setup, sheet: PartSheet): Promise<Words> {
  const { rows, warnings } = compilePartSheet(sheet, ensembleFor(await readTower(setup)));
  return { sheet, rows: rows.map(({ side, word, text, from }) => ({ side, word, text, from })), warnings };
}

/** The bundle's own, as they are shown. */
export function shownPrompts(prompts: PromptSet, sheet: PartSheet | null): Words {
  const texts = [...prompts.good, ...prompts.bad];
  const rows = texts.map((text, i) => ({
    side: i < prompts.good.length ? ("good" as const) : ("bad" as const),
    word: prompts.words?.[i] ?? text,
    text,
    from: "bundle",
  }));
  return { sheet, rows, warnings: [] };
}

export async function embedded(setup: Setup, sheet: PartSheet): Promise<{ prompts: PromptSet; warnings: string[] }> {
  const tower = await readTower(setup);
  const textModel = join(setup.folder, "text.onnx");
  const embed = (inputIds: Int32Array[]) => embedTexts({ textModel, inputIds });
  return embedPartSheet(sheet, { text: tower, logitScale: tower.logitScale, embed });
}

async function readTower(setup: Setup): Promise<TextTower> {
  if (!canEmbed(setup)) {
    throw new KenpinError(
      "text-tower-missing",
      "this bundle brings no text tower, so its words cannot be changed here; ask the hub for one that does",
    );
  }
  return parseAtDoor(TextTower, JSON.parse(await readFile(join(setup.folder, "text.json"), "utf8")), "text.json");
}
