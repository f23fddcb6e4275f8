/** Real bundles on a hub's shelf, made while the hub is down: small ones, of seeded weights, signed with the hub's own keys. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BundleRow } from "@kenpin/schema";
import { pino } from "pino";
import { openKeys } from "../../cloud-trainer/src/bundle/keys.ts";
import { openShelf } from "../../cloud-trainer/src/bundle/shelf.ts";
import { openDatabase } from "../../cloud-trainer/src/serve/database.ts";
import { stageTestBundle } from "../support/staged-bundle.ts";

export async function shelve(dataDir: string, names: string[]): Promise<BundleRow[]> {
  const database = openDatabase(join(dataDir, "hub.sqlite"));
  const keys = await openKeys({ dataDir, now: new Date(), log: pino({ level: "silent" }) });
  const baseDir = join(dataDir, "base");
  await mkdir(baseDir);
  await writeFile(join(baseDir, "model.safetensors"), "only its digest is asked for");
  const shelf = await openShelf({ database, dataDir, baseDir, keys, stage: ({ outDir }) => stageTestBundle(outDir) });
  const rows: BundleRow[] = [];
  for (const name of names) rows.push(await shelf.make({ name, good: ["even cloth"], bad: ["torn cloth"] }));
  await database.close();
  return rows;
}
