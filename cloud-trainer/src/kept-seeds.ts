/**
 * Seeds of an evaluation that were judged already, one JSON file each, so that one that is cut off goes on where it was. In: a folder
 * and what makes the seeds comparable (bundle, data, plan). Out: a reader and a writer; without a folder nothing is kept.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SeedRun } from "./evaluate/seed-run.ts";
import { readJsonFile } from "./json-file.ts";

export type KeptSeeds = { read: (seed: number) => Promise<SeedRun | null>; write: (run: SeedRun) => Promise<void> };

export function keepSeeds(folder: string | undefined, comparable: unknown): KeptSeeds {
  if (folder === undefined) return { read: async () => null, write: async () => {} };
  const name = createHash("sha256").update(JSON.stringify(comparable)).digest("hex").slice(0, 16);
  const fileOf = (seed: number) => join(folder, `${name}-${seed}.json`);
  return {
    read: async (seed) => {
      const file = fileOf(seed);
      const isThere = await readFile(file).then(
        () => true,
        () => false,
      );
      return isThere ? readJsonFile(SeedRun, file) : null;
    },
    write: async (run) => {
      await mkdir(folder, { recursive: true });
      // Renamed when whole: half a seed would be believed.
      await writeFile(`${fileOf(run.seed)}.part`, JSON.stringify(run));
      await rename(`${fileOf(run.seed)}.part`, fileOf(run.seed));
    },
  };
}
