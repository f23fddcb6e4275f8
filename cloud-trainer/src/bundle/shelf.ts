/**
 * The bundles a hub has sealed, and how each came to be: from words alone, or from a run. Releases rise over the whole
 * hub, so sealing goes one at a time. Each bundle remembers its words and the model it holds, so that a run can go on from it.
 */
import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { ensembleFor, parseModelConfig, partWords } from "@kenpin/clip";
import type { BundleManifest, BundleRequest, BundleRow, PartWords } from "@kenpin/schema";
import type { Database } from "../ports.ts";
import type { HubKeys } from "./keys.ts";
import { sealBundle } from "./seal.ts";
import type { StagedManifest } from "./staged.ts";

const TABLES = [
  `CREATE TABLE bundles (
     digest TEXT PRIMARY KEY, name TEXT NOT NULL, release INTEGER NOT NULL UNIQUE, bytes INTEGER NOT NULL, created_at TEXT NOT NULL,
     parent TEXT, words TEXT NOT NULL, model TEXT NOT NULL) STRICT`,
];
/** Stored instead of a path, since an update may move the base model that comes with kenpin. */
const BASE = "base";
const SEED = 1;

/** Turns words into a bundle's files with a model; the heavy part, done in a process of its own. */
export type StageWords = (job: { modelDir: string; words: PartWords; outDir: string; seed: number }) => Promise<StagedManifest>;
export type Origin = { modelDir: string; words: PartWords };
type Sealing = {
  folder: string;
  staged: StagedManifest;
  name: string;
  lineage: BundleManifest["lineage"];
  words: PartWords;
  model: string;
};
type ShelfOptions = { database: Database; dataDir: string; baseDir: string; keys: HubKeys; stage: StageWords };
type Stored = { digest: string; name: string; release: number; bytes: number; createdAt: string; parent: string | null };
export type Shelf = Awaited<ReturnType<typeof openShelf>>;

export async function openShelf({ database, dataDir, baseDir, keys, stage }: ShelfOptions) {
  await database.migrate("bundles", TABLES);
  const outDir = join(dataDir, "bundles");
  const select = "SELECT digest, name, release, bytes, created_at AS createdAt, parent FROM bundles";
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };

  const seal = async ({ folder, staged, name, lineage, words, model }: Sealing): Promise<BundleRow> => {
    const [newest] = await database.all<{ release: number | null }>("SELECT max(release) AS release FROM bundles");
    const release = (newest?.release ?? 0) + 1;
    const now = new Date();
    const { digest, bytes } = await sealBundle({ folder, staged, name, release, lineage, keys, now, outDir });
    const row: BundleRow = { digest, name, release, bytes, createdAt: now.toISOString(), parent: lineage.parent };
    const sql = "INSERT INTO bundles VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    await database.run(sql, digest, name, release, bytes, row.createdAt, row.parent, JSON.stringify(words), model);
    return row;
  };

  return {
    rows: (): Promise<BundleRow[]> => database.all<Stored>(`${select} ORDER BY release DESC LIMIT 1000`),
    row: async (digest: string): Promise<BundleRow | null> => (await database.all<Stored>(`${select} WHERE digest = ?`, digest))[0] ?? null,
    path: (digest: string) => join(outDir, `${digest}.kenpin`),

    /** The base model with these words. */
    make: (request: BundleRequest): Promise<BundleRow> =>
      inTurn(async () => {
        const folder = join(dataDir, "staging", randomUUID());
        const { name } = request;
        const words = await wordsOf(request, baseDir);
        try {
          const staged = await stage({ modelDir: baseDir, words, outDir: folder, seed: SEED });
          const recipe = await recipeOf(baseDir, words);
          return await seal({ folder, staged, name, lineage: { run: BASE, parent: null, data: [], recipe }, words, model: BASE });
        } finally {
          for (const left of [folder, `${folder}.words.json`]) await rm(left, { recursive: true, force: true });
        }
      }),

    /** What a run left in its folder. `model` is that folder's model, relative to the data folder. */
    sealRun: (sealing: Sealing): Promise<BundleRow> => inTurn(() => seal(sealing)),

    /** The model and the words to train on from. */
    originOf: async (digest: string): Promise<Origin | null> => {
      const sql = "SELECT words, model FROM bundles WHERE digest = ?";
      const [row] = await database.all<{ words: string; model: string }>(sql, digest);
      return row ? { words: JSON.parse(row.words), modelDir: row.model === BASE ? baseDir : join(dataDir, row.model) } : null;
    },
  };
}

/** Sentences as they came, or those of a part sheet beside it. */
async function wordsOf({ name: _, ...request }: BundleRequest, baseDir: string): Promise<PartWords> {
  if (!("sheet" in request)) return request;
  const file = join(baseDir, "config.json");
  const { text } = parseModelConfig(JSON.parse(await readFile(file, "utf8")), file);
  return { ...request, ...partWords(request.sheet, ensembleFor(text)) };
}

/** What makes the same bundle again: every file of the base model, the words and the seed. */
async function recipeOf(baseDir: string, words: PartWords): Promise<string> {
  const hash = createHash("sha256");
  const files = (await readdir(baseDir, { withFileTypes: true })).filter((entry) => entry.isFile()).map(({ name }) => name);
  for (const name of files.sort()) {
    const bytes = await readFile(join(baseDir, name));
    hash.update(`${name} ${bytes.length}\n`).update(bytes);
  }
  return hash.update(JSON.stringify({ stage: BASE, words, seed: SEED })).digest("hex");
}
