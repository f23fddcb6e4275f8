/**
 * Single steps of a set-up on the running agent, through its page. In: folders, words, a sheet's file. Out: what the agent says; heat
 * maps are written as `<score>-<label>-<name>-<sha256's beginning>.png`. Long steps tell how far they are.
 */
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join, parse as parsePath } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  errorLine,
  KenpinError,
  parseAtDoor,
  PartSheet,
  PictureRow,
  type SayRequest,
  SetupState,
  Words,
  type WordsRequest,
} from "@kenpin/schema";
import { parse } from "yaml";
import { z } from "zod";
import type { PageClient } from "../../page-client.ts";
import { pictureNames, readPicture } from "../picture-folder.ts";
import { byStrangeness } from "./curve-text.ts";
import type { Screen } from "./screen.ts";
import type { Texts } from "./texts.ts";

export type Place = { page: PageClient; screen: Screen; t: Texts };

const SHEET_LIMIT_BYTES = 256 * 1024;
const LOOK_EVERY_MS = 200;
/** Others may change words or labels on the page meanwhile; not for ever. */
const LOOKS = 3;

export async function addFolder({ page, screen, t }: Place, folder: string, label: PictureRow["label"]): Promise<PictureRow[]> {
  const names = await pictureNames(folder);
  if (names.length === 0)
    throw new KenpinError("folder-empty", `${folder} holds no picture (jpg, png, webp, bmp, tif); pass another folder`);
  const rows: PictureRow[] = [];
  await counted({ screen, t }, { what: t.adding, of: names.length }, async (i) => {
    const name = names[i] as string;
    const query = `name=${encodeURIComponent(name.slice(-200))}${label ? `&label=${label}` : ""}`;
    const body = await readPicture(folder, name);
    rows.push(await page.ask(PictureRow, "POST", `/v1/setup/pictures?${query}`, { body }).catch(namedBy(join(folder, name))));
  });
  screen.line(`${t.added(names.length, folder)}: ${t[label ?? "unsorted"]}`);
  return rows;
}

/** Says what the words become; nothing said leaves those in use. */
export async function sayWords({ page, screen, t }: Place, said: WordsRequest | string): Promise<void> {
  const isSilent = typeof said === "object" && said.object === "" && said.bad.length === 0;
  if (isSilent) return screen.line(t.wordsStay);
  const request: SayRequest = typeof said === "string" ? { sheet: await readSheet(said) } : said;
  const { rows, warnings } = await page.ask(Words, "PUT", "/v1/setup/words", { body: request });
  screen.line(t.words);
  for (const { side, word, text } of rows) screen.line(`  ${t[side]}: ${word === text ? text : `${word} → ${text}`}`);
  for (const warning of warnings) screen.line(`  ! ${warning}`);
}

/** Until every picture was looked at by the words and labels of now. */
export async function look({ page, screen, t }: Place): Promise<SetupState> {
  let state = await page.ask(SetupState, "GET", "/v1/setup");
  for (let looks = 0; !state.upToDate && looks < LOOKS; looks++) {
    const progress = screen.progress();
    state = await page.ask(SetupState, "POST", "/v1/setup/look");
    while (state.work) {
      const { what, done, of, secondsLeft } = state.work;
      progress.say(what === "words" ? t.work[what] : `${t.work[what]}: ${done}/${of}${left(secondsLeft, t)}`);
      await sleep(LOOK_EVERY_MS);
      state = await page.ask(SetupState, "GET", "/v1/setup");
    }
    progress.end();
    if (state.fault) throw new KenpinError("setup-failed", `the pictures could not be looked at: ${state.fault}`);
  }
  return state;
}

export async function writeMaps({ page, screen, t }: Place, pictures: readonly PictureRow[], folder: string): Promise<string[]> {
  const seen = byStrangeness(pictures);
  const files: string[] = [];
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw new KenpinError("folder-unwritable", `${folder} cannot be written to: ${errorLine(cause)}; pass another folder`, { cause });
  });
  await counted({ screen, t }, { what: t.writingMaps, of: seen.length }, async (i) => {
    const { sha256, name, label, look } = seen[i] as (typeof seen)[number];
    const stem = parsePath(name).name.replace(/[^\p{L}\p{N}._-]/gu, "_") || "picture";
    const file = join(folder, `${look.score.toFixed(3)}-${label ?? "unsorted"}-${stem}-${sha256.slice(0, 8)}.png`);
    await writeFile(file, await page.bytes(`/v1/frames/${sha256}/map`));
    files.push(file);
  });
  if (files.length > 0) screen.line(t.mapsWritten(files.length, folder));
  return files;
}

export async function labelAll({ page }: Place, pictures: readonly PictureRow[], label: "good" | "bad"): Promise<void> {
  for (const { sha256 } of pictures) await page.ask(z.strictObject({}), "PUT", `/v1/setup/pictures/${sha256}`, { body: { label } });
}

async function readSheet(file: string): Promise<PartSheet> {
  const size = await stat(file).then(
    (found) => found.size,
    (cause: unknown) => {
      throw new KenpinError("sheet-unreadable", `${file} cannot be read; pass a part sheet, a YAML file`, { cause });
    },
  );
  if (size > SHEET_LIMIT_BYTES)
    throw new KenpinError("sheet-unreadable", `${file} has ${size} bytes, at most ${SHEET_LIMIT_BYTES} are read`);
  const text = await readFile(file, "utf8");
  let parsed: unknown;
  try {
    parsed = parse(text);
  } catch (cause) {
    throw new KenpinError("sheet-unreadable", `${file} is no YAML: ${errorLine(cause).split("\n")[0]}`, { cause });
  }
  return parseAtDoor(PartSheet, parsed, file);
}

async function counted(
  { screen, t }: Pick<Place, "screen" | "t">,
  { what, of }: { what: string; of: number },
  each: (i: number) => Promise<void>,
): Promise<void> {
  const progress = screen.progress();
  const began = Date.now();
  for (let i = 0; i < of; i++) {
    await each(i);
    const secondsLeft = Math.round(((Date.now() - began) / 1000) * (of / (i + 1) - 1));
    progress.say(`${what}: ${i + 1}/${of}${left(secondsLeft, t)}`);
  }
  progress.end();
}

/** What is about to end says nothing rather than nought: the last piece may take longer than those before. */
function left(seconds: number | null, t: Texts): string {
  return seconds ? `, ${t.secondsLeft(seconds)}` : "";
}

/** Which of many files it was. */
function namedBy(file: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof KenpinError) throw new KenpinError(error.code, `${file}: ${error.message}`, { cause: error });
    throw error;
  };
}
