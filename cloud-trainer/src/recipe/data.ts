/**
 * What a stage of a recipe sees: generated surfaces, frames of its picture sets, and labelled frames of the site. Sets are
 * opened once a run and checked before the first step; what is wrong with them is said by name.
 */
import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { decodeImage, type ModelConfig, type RgbImage } from "@kenpin/clip";
import { type DataRecipe, errorLine, KenpinError } from "@kenpin/schema";
import { type Stored, surfacePool } from "../samples/batch.ts";
import { findingsIn } from "../samples/checks/findings.ts";
import { alikeAmong, lookAtAll } from "../samples/checks/looks.ts";
import { readJsonFile } from "../json-file.ts";
import { INDEX_NAME, ShardIndex } from "../samples/sets/shard-sample.ts";
import { openPictureSet, type Picture, type PictureSet } from "../samples/picture-set.ts";

export type Frame = { image: RgbImage; label: "good" | "bad" | null; captions: string[]; sha256: string };
export type StageData = { surfaces: Stored[]; frames: Frame[]; lineage: { name: string; sha256: string; images: number }[] };
type Say = (stage: string, done: number, of: number) => void;

/** Frames are held decoded, three bytes a pixel, for as long as a stage runs. */
const RAW_LIMIT_BYTES = 2 * 1024 ** 3;

export function createDataReader({ note, say }: { note: (line: string) => void; say: Say }) {
  const opened = new Map<string, Promise<{ set: PictureSet; frames: Frame[] }>>();
  const pools = new Map<string, Stored[]>();
  const open = (path: string, config: ModelConfig) => {
    const known = opened.get(path) ?? readSet(path, config, { note, say });
    opened.set(path, known);
    return known;
  };
  return async ({ generated, sets }: DataRecipe, config: ModelConfig): Promise<StageData> => {
    const key = JSON.stringify([generated, config.image.size]);
    const surfaces =
      !generated || generated.on === "device"
        ? []
        : (pools.get(key) ??
          surfacePool(generated.seed, config.image.size, generated.surfaces, (done) => say("making surfaces", done, generated.surfaces)));
    if (generated?.on === "host") pools.set(key, surfaces);
    const read = await Promise.all(sets.map((path) => open(path, config)));
    const lineage = read.map(({ set }) => ({ name: set.name, sha256: set.digest, images: set.pictures.length }));
    if (generated) lineage.push({ name: "generated surfaces", sha256: digest(key), images: generated.surfaces });
    return { surfaces, frames: read.flatMap(({ frames }) => frames), lineage };
  };
}

/** The stage's sets where all of them are folders of shards and nothing else is asked for, else null. */
export async function shardFolders({ generated, sets }: DataRecipe): Promise<string[] | null> {
  if (generated || sets.length === 0) return null;
  const names = await Promise.all(sets.map((path) => readdir(path).catch(() => [] as string[])));
  return names.every((files) => files.some((name) => name.endsWith(".tar"))) ? sets : null;
}

/** By kenpin's own index where there is one; other people's shards are known by their names and sizes, their pictures not counted. */
export async function shardLineage(folders: readonly string[]): Promise<StageData["lineage"]> {
  const rows: StageData["lineage"] = [];
  for (const folder of folders) {
    const file = join(folder, INDEX_NAME);
    const index = (await stat(file).catch(() => null)) && (await readJsonFile(ShardIndex, file));
    if (index) rows.push({ name: index.name, sha256: index.digest, images: index.pictures });
    else rows.push({ name: basename(folder), sha256: digest(await shardSizes(folder)), images: 0 });
  }
  return rows;
}

async function shardSizes(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".tar")).sort();
  const rows = await Promise.all(names.map(async (name) => `${name} ${(await stat(join(folder, name))).size}`));
  return rows.join("\n");
}

async function readSet(path: string, config: ModelConfig, { note, say }: { note: (line: string) => void; say: Say }) {
  const set = await openPictureSet(path, { onProgress: (done, of) => say(`reading ${path}`, done, of ?? done) });
  const seen = await lookAtAll(set.pictures, { onProgress: (done, of) => say(`checking ${path}`, done, of ?? done) });
  const findings = findingsIn({ set, seen, alike: alikeAmong(seen), config, language: "en" });
  for (const { severity, message } of findings) note(`${path}: ${severity}: ${message}`);
  const worst = findings.find(({ severity }) => severity === "error");
  if (worst) throw new KenpinError("data-not-in-order", `${path}: ${worst.message}; ${worst.advice}`);
  // What the set keeps for testing is not trained on.
  const frames = await decodeAll(
    set.pictures.filter(({ split }) => split !== "test"),
    note,
  );
  if (frames.length === 0)
    throw new KenpinError("data-not-in-order", `${path}: no picture of it may be trained on; all are kept for testing`);
  return { set, frames };
}

async function decodeAll(pictures: readonly Picture[], note: (line: string) => void): Promise<Frame[]> {
  const frames: Frame[] = [];
  let raw = 0;
  for (const [i, { key, bytes, label, captions, sha256 }] of pictures.entries()) {
    if (raw > RAW_LIMIT_BYTES) {
      note(`${pictures.length - i} pictures are left out: those read fill ${RAW_LIMIT_BYTES / 1024 ** 3} GiB already`);
      break;
    }
    try {
      const image = await decodeImage(await bytes());
      raw += image.data.length;
      frames.push({ image, label, captions, sha256 });
    } catch (error) {
      note(`${key} is left out: ${errorLine(error)}`);
    }
  }
  return frames;
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
