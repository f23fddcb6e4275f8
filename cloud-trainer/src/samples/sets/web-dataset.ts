/**
 * A set as WebDataset shards: files of one key stand side by side in a tar and are one picture with what belongs to it.
 * In: a tar, or a folder of them; kenpin's own have an index.json that must agree with them. A key is a name up to its first
 * dot (webdataset's rule). Pictures stay in their shards and are read from there when they are asked for.
 */
import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import { z } from "zod";
import { readJsonFile } from "../../json-file.ts";
import {
  openPlace,
  type Picture,
  type PictureSet,
  pictureSet,
  type ReadOptions,
  readPlace,
  tooLarge,
  FILE_LIMIT_BYTES,
} from "../picture.ts";
import { isPictureName } from "./folder-walk.ts";
import { INDEX_NAME, SAMPLE_FORMAT, ShardIndex, ShardSample } from "./shard-sample.ts";
import { type TarEntry, tarEntries } from "./tar-entries.ts";

const SIDECAR_LIMIT_BYTES = 1024 ** 2;
const FILES_EACH = 64;
type Members = Map<string, TarEntry>;

export async function readShards(path: string, files: string[], options: ReadOptions): Promise<PictureSet> {
  const folder = path.endsWith(".tar") ? dirname(path) : path;
  const index = path.endsWith(".tar") ? null : await readIndex(folder, files);
  const pictures: Picture[] = [];
  const skipped: string[] = [];
  const keys = new Set<string>();
  for (const file of files) {
    const before = pictures.length;
    for await (const [key, members] of samplesOf(join(folder, file))) {
      options.signal?.throwIfAborted();
      const picture = await pictureOf(join(folder, file), key, members, skipped);
      if (!picture) continue;
      if (keys.has(picture.key)) throw broken(file, `the key ${picture.key} comes twice`);
      keys.add(picture.key);
      pictures.push(picture);
      options.onProgress?.(pictures.length, index?.pictures ?? null);
    }
    const wanted = index?.shards.find((shard) => shard.file === file)?.pictures;
    if (wanted !== undefined && wanted !== pictures.length - before) {
      throw broken(file, `${INDEX_NAME} says ${wanted} pictures, it holds ${pictures.length - before}`);
    }
  }
  const set = pictureSet({ name: index?.name ?? basename(path).replace(/\.tar$/, ""), root: null, pictures, skipped });
  if (index && index.digest !== set.digest) throw broken(folder, `${INDEX_NAME} names other pictures or labels than the shards hold`);
  return set;
}

/** Shards that were lost or copied by halves are noticed before a single picture is read. */
async function readIndex(folder: string, files: string[]): Promise<ShardIndex | null> {
  const file = join(folder, INDEX_NAME);
  if (!(await stat(file).catch(() => null))) return null;
  const index = await readJsonFile(ShardIndex, file);
  for (const shard of index.shards) {
    const bytes = (await stat(join(folder, shard.file)).catch(() => null))?.size;
    if (bytes !== shard.bytes) throw broken(shard.file, `${INDEX_NAME} says ${shard.bytes} bytes, there are ${bytes ?? "none"}`);
  }
  const strange = files.find((name) => !index.shards.some((shard) => shard.file === name));
  if (strange) throw broken(strange, `${INDEX_NAME} does not name it`);
  return index;
}

/** Neighbouring files of one key. */
async function* samplesOf(tar: string): AsyncGenerator<[string, Members]> {
  let [key, members]: [string, Members] = ["", new Map()];
  for await (const entry of tarEntries(tar)) {
    const [, own = "", ending = ""] = /^((?:.*\/)?[^/.]+)\.([^/]+)$/.exec(entry.name) ?? [];
    if (own === "") continue; // no ending: webdataset passes it over as well
    if (own !== key) {
      if (members.size > 0) yield [key, members];
      [key, members] = [own, new Map()];
    }
    members.set(ending.toLowerCase(), entry);
    if (members.size > FILES_EACH) throw broken(tar, `${key} has more than ${FILES_EACH} files`);
  }
  if (members.size > 0) yield [key, members];
}

async function pictureOf(tar: string, key: string, members: Members, skipped: string[]): Promise<Picture | null> {
  const place = ({ name, offset, size }: TarEntry) => ({ file: tar, name: `${basename(tar)}: ${name}`, offset, size });
  const image = [...members].find(([ending]) => isPictureName(`.${ending}`) && !ending.includes("."))?.[1];
  if (!image) {
    skipped.push(...[...members.values()].map(({ name }) => `${basename(tar)}: ${name}`));
    return null;
  }
  const mask = members.get("mask.png");
  for (const entry of [image, ...(mask ? [mask] : [])]) if (entry.size > FILE_LIMIT_BYTES) throw tooLarge(place(entry).name, entry.size);
  const caption = await sidecar(members.get("txt"), place);
  const said = sampleOf(await sidecar(members.get("json"), place), place(image).name);
  const placed = await openPlace(place(image));
  if (said && said.sha256 !== placed.sha256) throw broken(tar, `${key} is not the picture that its JSON names`);
  const { format: _, ...known } = said ?? { ...UNKNOWN, format: null, key, captions: caption?.trim() ? [caption.trim()] : [] };
  return { ...known, ...placed, mask: mask ? () => readPlace(place(mask)) : null };
}

const UNKNOWN = { label: null, defect: null, group: null, split: null, reason: null, drawProbability: null };

async function sidecar(entry: TarEntry | undefined, place: (entry: TarEntry) => Parameters<typeof readPlace>[0]): Promise<string | null> {
  if (!entry) return null;
  if (entry.size > SIDECAR_LIMIT_BYTES) {
    throw new KenpinError("shard-broken", `${place(entry).name} has ${entry.size} bytes; a caption has at most ${SIDECAR_LIMIT_BYTES}`);
  }
  return new TextDecoder().decode(await readPlace(place(entry)));
}

function sampleOf(json: string | null, name: string): ShardSample | null {
  if (json === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new KenpinError("shard-broken", `the JSON beside ${name} is malformed; write the shard again`, { cause: error });
  }
  const isOurs = z.looseObject({ format: z.literal(SAMPLE_FORMAT) }).safeParse(value).success;
  return isOurs ? parseAtDoor(ShardSample, value, `the JSON beside ${name}`) : null;
}

function broken(what: string, why: string): KenpinError {
  return new KenpinError("shard-broken", `${what} cannot be used: ${why}; write or copy it again`);
}
