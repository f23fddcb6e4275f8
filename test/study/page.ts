/** Draws the page again from what was found: `kn test/study/page.ts [FOLDER]` reads FOLDER/study.json and writes README.md and SVGs there. */
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseAtDoor } from "@kenpin/schema";
import { pageOf } from "./report.ts";
import { Study } from "./results.ts";

export const RESULTS = join(import.meta.dirname, "results");

export async function writePage(dir: string): Promise<string[]> {
  const file = join(dir, "study.json");
  const study = parseAtDoor(Study, JSON.parse(await readFile(file, "utf8")), file);
  const files = pageOf(study);
  for (const [name, text] of files) await writeFile(join(dir, name), text);
  return [...files.keys()];
}

if (import.meta.main) await writePage(resolve(process.argv[2] ?? RESULTS));
