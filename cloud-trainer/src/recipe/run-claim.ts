/** A run folder belongs to one recipe: going on with another would mix two runs. */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KenpinError, type Recipe } from "@kenpin/schema";

/** Writes recipe.json, every default filled in and every path whole, or finds the very same one there. */
export async function claimRun(dir: string, recipe: Recipe): Promise<void> {
  await mkdir(dir, { recursive: true });
  const [file, text] = [join(dir, "recipe.json"), jsonText(recipe)];
  const known = await readFile(file, "utf8").catch(() => null);
  if (known === null) await writeWhole(file, recipe);
  else if (known !== text) {
    throw new KenpinError("other-recipe", `${dir} holds a run of another recipe; choose another folder, or remove this one to start anew`);
  }
}

/** Renamed into place, so that a file that is there is whole. */
export async function writeWhole(file: string, value: unknown): Promise<void> {
  await writeFile(`${file}.part`, jsonText(value), { flush: true });
  await rename(`${file}.part`, file);
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
