/**
 * Opens a set of pictures, however it is kept: folders in MVTec's layout or flat, a table with captions, WebDataset shards,
 * or a run's job.json of the hub. In: a path. Out: what is known of each picture; every file has been read once for its
 * digest, none has been decoded.
 */
import { realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { KenpinError } from "@kenpin/schema";
import { type PictureSet, pictureSet } from "./picture.ts";
import { readTable, type TableOptions } from "./sets/caption-table.ts";
import { entriesOf } from "./sets/folder-walk.ts";
import { readHubJob } from "./sets/hub-job.ts";
import { describeFolder, isLaidOut, readFolder } from "./sets/mvtec-folder.ts";
import { readShards } from "./sets/web-dataset.ts";

export type { Picture, PictureSet } from "./picture.ts";

export type OpenOptions = TableOptions & {
  /** Every picture that says nothing else was drawn at random with this chance: whoever collected the set knows it. */
  drawProbability?: number | undefined;
};

export async function openPictureSet(path: string, options: OpenOptions = {}): Promise<PictureSet> {
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    throw new KenpinError("set-missing", `${path} cannot be opened (${error.code}); expected a folder, a table or a shard`, {
      cause: error,
    });
  });
  const set = await read(real, path, options);
  if (set.pictures.length === 0) throw new KenpinError("set-empty", `${path} holds no picture; put pictures into its folders first`);
  return options.drawProbability === undefined ? set : drawnAtRandom(set, options.drawProbability);
}

async function read(path: string, said: string, options: OpenOptions): Promise<PictureSet> {
  if ((await stat(path)).isFile()) return readFile(path, said, options);
  const { files, folders } = await entriesOf(path, said);
  const shards = files.filter((file) => file.endsWith(".tar"));
  const tables = files.filter((file) => /\.(csv|tsv)$/i.test(file));
  const isTable = shards.length === 0 && !files.includes("job.json") && tables.length > 0 && !isLaidOut(folders);
  if (!isTable) needNoColumn(options, said);
  if (shards.length > 0) return readShards(path, shards, options);
  if (files.includes("job.json")) return readHubJob(join(path, "job.json"), options);
  if (isTable) {
    if (tables.length === 1) return readTable(join(path, tables[0] as string), options);
    throw new KenpinError("set-unknown", `${said} holds several tables (${tables.slice(0, 5).join(", ")}); name one`);
  }
  const set = await readFolder(path, options);
  if (set) return set;
  throw await describeFolder(path);
}

function readFile(path: string, said: string, options: OpenOptions): Promise<PictureSet> {
  if (/\.(csv|tsv)$/i.test(path)) return readTable(path, options);
  needNoColumn(options, said);
  if (path.endsWith(".tar")) return readShards(path, [basename(path)], options);
  if (path.endsWith(".json")) return readHubJob(path, options);
  throw new KenpinError("set-unknown", `${said} is no set; expected a folder, a table (.csv, .tsv), a shard (.tar) or a run's job.json`);
}

function needNoColumn({ by }: OpenOptions, said: string): void {
  if (by === undefined) return;
  throw new KenpinError("set-without-columns", `${said} is no table and has no column ${by}; groups are what its folders or shards say`);
}

function drawnAtRandom(set: PictureSet, drawProbability: number): PictureSet {
  const pictures = set.pictures.map((picture) =>
    picture.reason === null ? { ...picture, reason: "random" as const, drawProbability } : picture,
  );
  return pictureSet({ ...set, pictures });
}
