/**
 * Lists the files under a folder in a fixed order, without following links: a link may lead out of the set, or round in a
 * circle. In: a folder. Out: paths relative to it, with "/", sorted by their code points, so that a set reads the same everywhere.
 */
import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { KenpinError } from "@kenpin/schema";

const PICTURE = /\.(jpe?g|png|webp|tiff?|gif|bmp)$/i;
/** Deeper than any set is laid out; a loop of mounts would be. */
const DEPTH = 8;
/** Ten times the largest public inspection set. */
const FILES = 10_000_000;

export function isPictureName(name: string): boolean {
  return PICTURE.test(name);
}

/** Folders and files directly in `folder`; what the system hides is left out. */
export async function entriesOf(folder: string, said = folder): Promise<{ folders: string[]; files: string[] }> {
  const entries = (await readdir(folder, { withFileTypes: true })).filter(({ name }) => !name.startsWith("."));
  const link = entries.find((entry) => entry.isSymbolicLink());
  if (link) {
    throw new KenpinError("set-has-link", `${join(said, link.name)} is a symbolic link; a set holds its own files: copy the picture there`);
  }
  const names = (wanted: (entry: Dirent) => boolean) => entries.filter(wanted).map(({ name }) => name);
  return { folders: names((entry) => entry.isDirectory()).sort(), files: names((entry) => entry.isFile()).sort() };
}

export async function* walkFiles(root: string, under: string): AsyncGenerator<string> {
  let count = 0;
  const within = async function* (path: string, depth: number): AsyncGenerator<string> {
    if (depth > DEPTH) throw new KenpinError("set-too-deep", `${path} lies more than ${DEPTH} folders deep; a set is flatter than that`);
    const { folders, files } = await entriesOf(join(root, path));
    for (const file of files) {
      if (++count > FILES) throw new KenpinError("set-too-large", `${under} holds more than ${FILES} files; make shards of it by parts`);
      yield `${path}/${file}`;
    }
    for (const folder of folders) yield* within(`${path}/${folder}`, depth + 1);
  };
  yield* within(under, 1);
}
