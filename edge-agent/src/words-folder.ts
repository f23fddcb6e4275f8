/**
 * A bundle's folder with other words in it: dataDir/words/<sha256 of the words>, where every file but prompts.json is the bundle's own
 * by a hard link (a copy where the disk has none). An inspector opens it like any bundle, in whatever language it is written.
 * In: a proven bundle's folder and the words. Out: the folder, whole or not there at all.
 */
import { createHash } from "node:crypto";
import { copyFile, link, mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { PromptSet } from "@kenpin/schema";

const PROMPTS = "prompts.json";

export async function wordsFolder(parts: { dataDir: string; bundle: string; folder: string; prompts: PromptSet }): Promise<string> {
  const { dataDir, bundle, folder, prompts } = parts;
  const text = JSON.stringify(prompts);
  const name = createHash("sha256").update(bundle).update(text).digest("hex");
  const place = join(dataDir, "words", name);
  if (await stat(join(place, PROMPTS)).catch(() => null)) return place;
  const fresh = `${place}.${process.pid}.part`;
  await rm(fresh, { recursive: true, force: true });
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === PROMPTS) continue;
    const from = join(entry.parentPath, entry.name);
    const to = join(fresh, from.slice(folder.length));
    await mkdir(dirname(to), { recursive: true });
    await link(from, to).catch(() => copyFile(from, to));
  }
  await writeFile(join(fresh, PROMPTS), text, { flush: true });
  await rm(place, { recursive: true, force: true });
  await rename(fresh, place);
  return place;
}

/** Removes the folders that nothing decides by; only before the first one is opened. */
export async function sweepWords(dataDir: string, kept: string | null): Promise<void> {
  const folder = join(dataDir, "words");
  for (const name of await readdir(folder).catch(() => [])) {
    if (join(folder, name) !== kept) await rm(join(folder, name), { recursive: true, force: true });
  }
}
