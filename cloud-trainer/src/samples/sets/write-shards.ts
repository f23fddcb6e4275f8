/**
 * Writes a set as WebDataset shards that kenpin, the Python package webdataset and open_clip's trainer read:
 * <name>-000000.tar and on, with what shard-sample.ts says of each picture, and index.json.
 * The same pictures give the same bytes: files have no date and no owner, and stand in the order of their digests, which is a
 * shuffled one, as a trainer that reads from front to back needs it. The folder gets its name when all of it is on the disk.
 */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { KenpinError } from "@kenpin/schema";
import sharp from "sharp";
import { type Pack, pack } from "tar-stream";
import { wholeFolder } from "../../files.ts";
import { type Picture, type PictureSet, pictureSet, type ReadOptions, sha256Of } from "../picture.ts";
import { pictureType } from "../picture-type.ts";
import { INDEX_FORMAT, INDEX_NAME, SAMPLE_FORMAT, type ShardIndex, type ShardSample } from "./shard-sample.ts";

export type ShardLimits = { pictures: number; bytes: number };
/** open_clip's trainer takes these as they are; others become PNG, which loses nothing. */
const AS_THEY_ARE = ["jpg", "png", "webp"];

export async function writeShards(set: PictureSet, out: string, options: ReadOptions & { limits: ShardLimits }): Promise<ShardIndex> {
  const made: { index?: ShardIndex } = {};
  await wholeFolder(out, async (partial) => {
    made.index = await writeInto(partial, set, options);
    await writeFile(join(partial, INDEX_NAME), `${JSON.stringify(made.index, null, 2)}\n`, { flush: true });
  });
  return made.index as ShardIndex;
}

async function writeInto(folder: string, set: PictureSet, { limits, onProgress, signal }: Parameters<typeof writeShards>[2]) {
  const name =
    set.name
      .normalize("NFC")
      .replace(/[^A-Za-z0-9._-]+/g, "-")
      .replace(/^[-.]+|[-.]+$/g, "") || "set";
  const ordered = [...set.pictures].sort((a, b) => order(a.sha256, b.sha256) || order(a.key, b.key));
  const written: Picture[] = [];
  const shards: ShardIndex["shards"] = [];
  while (written.length < ordered.length) {
    const file = `${name}-${String(shards.length).padStart(6, "0")}.tar`;
    const before = written.length;
    const shard = await writeShard(join(folder, file), async (tar) => {
      for (let bytes = 0; written.length < ordered.length && written.length - before < limits.pictures && bytes < limits.bytes; ) {
        signal?.throwIfAborted();
        const { picture, files } = await filesOf(ordered[written.length] as Picture, written.length);
        for (const [entry, body] of files) bytes += await addFile(tar, entry, body);
        written.push(picture);
        onProgress?.(written.length, ordered.length);
      }
    });
    shards.push({ file, ...shard, pictures: written.length - before });
  }
  return {
    format: INDEX_FORMAT,
    name: set.name,
    digest: pictureSet({ ...set, pictures: written }).digest,
    pictures: written.length,
    shards,
  } as const;
}

/** A tar at `file`, filled by `fill`; its digest and size. */
async function writeShard(file: string, fill: (tar: Pack) => Promise<void>): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash("sha256");
  let bytes = 0;
  const counted = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      hash.update(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  const tar = pack();
  const onDisk = pipeline(tar, counted, createWriteStream(file, { flush: true }));
  const filled = fill(tar).then(
    () => tar.finalize(),
    (error: Error) => tar.destroy(error),
  );
  await Promise.all([onDisk, filled]);
  return { sha256: hash.digest("hex"), bytes };
}

function addFile(tar: Pack, name: string, body: Uint8Array): Promise<number> {
  return new Promise((done, fail) => {
    tar.once("error", fail);
    tar.once("close", fail);
    const entry = tar.entry({ name, size: body.length, mode: 0o644, mtime: new Date(0) }, (error) => {
      tar.off("error", fail);
      tar.off("close", fail);
      if (error) fail(error);
      else done(body.length);
    });
    entry.end(body);
  });
}

/** A picture's files in the shard, image first. Keys are numbers: a dot or a slash in one means something else there. */
async function filesOf(picture: Picture, place: number): Promise<{ picture: Picture; files: [string, Uint8Array][] }> {
  const { ending, bytes } = await plainPicture(picture);
  const key = String(place).padStart(8, "0");
  const files: [string, Uint8Array][] = [[`${key}.${ending}`, bytes]];
  const { label, defect, captions, group, split, reason, drawProbability } = picture;
  const sha256 = sha256Of(bytes);
  const known = { key: picture.key, sha256, label, defect, captions, group, split, reason, drawProbability };
  const sample: ShardSample = { format: SAMPLE_FORMAT, ...known };
  if (captions.length > 0) files.push([`${key}.txt`, Buffer.from(captions[0] as string)]);
  files.push([`${key}.json`, Buffer.from(JSON.stringify(sample))]);
  if (picture.mask) files.push([`${key}.mask.png`, await asPng(await picture.mask(), `the mask of ${picture.key}`)]);
  return { picture: { ...picture, sha256 }, files };
}

async function plainPicture(picture: Picture): Promise<{ ending: string; bytes: Uint8Array }> {
  const bytes = await picture.bytes();
  const type = pictureType(bytes);
  if (type !== null && AS_THEY_ARE.includes(type)) return { ending: type, bytes };
  return { ending: "png", bytes: await asPng(bytes, picture.key) };
}

async function asPng(bytes: Uint8Array, name: string): Promise<Uint8Array> {
  if (pictureType(bytes) === "png") return bytes;
  try {
    return new Uint8Array(await sharp(bytes, { failOn: "error" }).png().toBuffer());
  } catch (error) {
    throw new KenpinError("image-unreadable", `${name} is no readable picture; \`kenpin data check\` names all of these`, { cause: error });
  }
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
