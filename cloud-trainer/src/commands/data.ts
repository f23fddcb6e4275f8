/** `kenpin data`: sets of pictures looked at, split and packed before anything is trained on them. */
import { readFile, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { progressLine } from "@kenpin/page/progress";
import { KenpinError, parseAtDoor, Probability } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import type { Finding } from "../samples/findings.ts";
import type { PictureSet } from "../samples/picture-set.ts";

const opening = { by: z.string().min(1).max(200).optional(), drawnAtRandom: z.coerce.number().pipe(Probability.gt(0)).optional() };
const everywhere = { ...opening, json: z.boolean().default(false) };
const CheckOptions = z.strictObject({ ...everywhere, model: z.string().min(1).optional(), language: z.enum(["en", "ja"]) });
const ShardOptions = z.strictObject({
  ...everywhere,
  out: z.string().min(1),
  pictures: z.coerce.number().int().min(1).max(1_000_000),
  megabytes: z.coerce.number().min(1).max(100_000),
});
const SheetOptions = z.strictObject({
  ...everywhere,
  out: z.string().min(1),
  count: z.coerce.number().int().min(1).max(2000),
  columns: z.coerce.number().int().min(1).max(50),
});
const SplitOptions = z.strictObject({
  ...everywhere,
  out: z.string().min(1).optional(),
  test: z.coerce.number().gt(0).lt(1),
  seed: z.coerce.number().int().min(0).max(0xffff_ffff),
});

export function dataCommand(): Command {
  return new Command("data")
    .description("look at, split and pack pictures before training on them")
    .addCommand(checkCommand())
    .addCommand(splitCommand())
    .addCommand(sheetCommand())
    .addCommand(shardCommand());
}

/** What every one of them opens. */
function onSet(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .argument("<set>", "folder (MVTec layout, or good/ and one folder a defect), .csv, .tsv, folder of .tar shards, or a run's job.json")
    .option("--by <column>", "in a table: the column that must not be split (default: group, lot, part, day or camera)")
    .option("--drawn-at-random <p>", "all of it was drawn from the line at random, each part with this chance")
    .option("--json", "print the result as JSON");
}

function checkCommand(): Command {
  return onSet("check", "name what is wrong with the pictures and labels; exit code 1 where training would go wrong")
    .option("--model <name|folder>", "also hold sizes and captions against this model")
    .option("--language <code>", "en or ja", "en")
    .action(async (path: string, given: unknown) => {
      const { model, language, json, ...rest } = parseAtDoor(CheckOptions, given, "kenpin data check");
      const config = model === undefined ? null : await configOf(model);
      const set = await open(path, rest);
      const { findingsOf } = await import("../samples/findings.ts");
      const findings = await findingsOf(set, { config, language, onProgress: progressLine("looked at") });
      if (findings.some(({ severity }) => severity === "error")) process.exitCode = 1;
      if (json) return print({ ...summaryOf(set), findings });
      process.stdout.write(
        `${described(set)}\n${findings.map(findingText).join("")}${findings.length === 0 ? "nothing to complain of\n" : ""}`,
      );
    });
}

function splitCommand(): Command {
  return onSet("split", "deal pictures to training and testing; groups and near copies stay together")
    .option("--test <share>", "share of each label that tests", "0.2")
    .option("--seed <n>", "the same seed gives the same split", "1")
    .option("--out <file.csv>", "write it as a table, into the set's folder, to be opened instead of it")
    .action(async (path: string, given: unknown) => {
      const { test, seed, out, json, ...rest } = parseAtDoor(SplitOptions, given, "kenpin data split");
      const set = await open(path, rest);
      const { alikeAmong, lookAtAll } = await import("../samples/checks/looks.ts");
      const { splitByGroup } = await import("../samples/split.ts");
      const alike = alikeAmong(await lookAtAll(set.pictures, { onProgress: progressLine("looked at") }));
      const split = splitByGroup(set.pictures, { testRatio: test, seed, alike });
      if (out !== undefined) {
        const { splitTable } = await import("../samples/split-table.ts");
        needInside(set, out);
        await writeFile(out, splitTable(set, split), { flag: "wx" }).catch(taken(out));
      }
      const sides = { train: countsOf(split.train), test: countsOf(split.test) };
      if (json) return print({ ...summaryOf(set), ...sides, alikeGroups: alike.length });
      for (const [side, counts] of Object.entries(sides)) process.stdout.write(`${side}: ${countsText(counts)}\n`);
      process.stdout.write(`${alike.length} groups of near copies were kept together\n`);
    });
}

function sheetCommand(): Command {
  return onSet("sheet", "some pictures of each kind on one page, with their labels")
    .requiredOption("--out <file.png>", "the page")
    .option("--count <n>", "pictures on it", "48")
    .option("--columns <n>", "side by side", "8")
    .action(async (path: string, given: unknown) => {
      const { out, count, columns, json, ...rest } = parseAtDoor(SheetOptions, given, "kenpin data sheet");
      const set = await open(path, rest);
      const { contactSheet } = await import("../samples/contact-sheet.ts");
      const page = await contactSheet(set, { count, columns, onProgress: progressLine("drawn") });
      await writeFile(out, page).catch((error: NodeJS.ErrnoException) => {
        throw new KenpinError("file-unwritable", `${out} cannot be written (${error.code}); name a file in a folder that is there`, {
          cause: error,
        });
      });
      if (json) return print({ ...summaryOf(set), sheet: out });
      process.stdout.write(`${described(set)}\n${out} shows some of each kind\n`);
    });
}

function shardCommand(): Command {
  return onSet("shard", "pack a set as WebDataset shards, which open_clip's trainer reads too")
    .requiredOption("--out <folder>", "new folder for the shards and their index.json")
    .option("--pictures <n>", "pictures a shard, at most", "1000")
    .option("--megabytes <n>", "size at which a shard is full", "256")
    .action(async (path: string, given: unknown) => {
      const { out, pictures, megabytes, json, ...rest } = parseAtDoor(ShardOptions, given, "kenpin data shard");
      const set = await open(path, rest);
      const { writeShards } = await import("../samples/sets/write-shards.ts");
      const limits = { pictures, bytes: megabytes * 1024 ** 2 };
      const index = await writeShards(set, out, { limits, onProgress: progressLine("packed") });
      if (json) return print(index);
      const bytes = index.shards.reduce((sum, shard) => sum + shard.bytes, 0);
      process.stdout.write(`${out}: ${index.pictures} pictures in ${index.shards.length} shards, ${(bytes / 1024 ** 2).toFixed(1)} MB\n`);
    });
}

async function open(path: string, { by, drawnAtRandom }: z.infer<z.ZodObject<typeof opening>>): Promise<PictureSet> {
  const { openPictureSet } = await import("../samples/picture-set.ts");
  return openPictureSet(path, { by, drawProbability: drawnAtRandom, onProgress: progressLine("read") });
}

/** A model by its name, or the config.json of a weights' folder. */
async function configOf(model: string) {
  const { modelConfig, parseModelConfig } = await import("@kenpin/clip");
  const file = join(model, "config.json");
  const text = await readFile(file, "utf8").catch(() => null);
  return text === null ? modelConfig(model) : parseModelConfig(JSON.parse(text), file);
}

/** A table's paths begin at its own folder and may not lead out of it. */
function needInside({ root }: PictureSet, out: string): void {
  if (root === null || relative(root, resolve(out, "..")) === "") return;
  throw new KenpinError("set-path-outside", `${out} must lie in ${root}, where its paths begin: write it to ${join(root, "split.csv")}`);
}

function taken(out: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    if (error.code !== "EEXIST") throw error;
    throw new KenpinError("file-taken", `${out} is there already; a split once trained on should stay: name another file`, {
      cause: error,
    });
  };
}

type Counts = Record<string, number>;

function countsOf(pictures: PictureSet["pictures"]): Counts {
  const counts: Counts = {};
  for (const { label, defect } of pictures) {
    const kind = defect ?? label ?? "unlabelled";
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

function countsText(counts: Counts): string {
  const total = Object.values(counts).reduce((sum, n) => sum + n, 0);
  return `${total} pictures (${Object.entries(counts)
    .map(([kind, n]) => `${kind} ${n}`)
    .join(", ")})`;
}

function summaryOf({ name, digest, pictures }: PictureSet) {
  return { name, digest, pictures: pictures.length, kinds: countsOf(pictures) };
}

function described(set: PictureSet): string {
  return `${set.name}: ${countsText(countsOf(set.pictures))}, digest ${set.digest.slice(0, 12)}`;
}

function findingText({ severity, kind, message, advice, pictures, count }: Finding): string {
  const names = pictures.slice(0, 3).join(", ");
  const more = count > 3 ? `, … ${count - 3} more` : "";
  return `${severity} ${kind}: ${message}\n    ${advice}${names === "" ? "" : `\n    ${names}${more}`}\n`;
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
