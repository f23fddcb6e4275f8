/**
 * The hub's SQLite file: the one place that opens it. Write-ahead log with synchronous FULL, so that what was committed
 * before an acknowledgement survives a power cut. One connection, one statement or transaction at a time, in call order.
 */
import { dirname } from "node:path";
import { KenpinError } from "@kenpin/schema";
import BetterSqlite3 from "better-sqlite3";
import type { Database, Queries, Value } from "../ports.ts";

/** Another process (a backup, a second hub) may hold the write lock for a moment. */
const BUSY_TIMEOUT_MS = 5000;

export function openDatabase(file: string): Database {
  const lock = takeLock(`${file}.lock`);
  const sqlite = open(file);
  const statements = new Map<string, BetterSqlite3.Statement<Value[]>>();
  const prepare = (sql: string) => {
    const known = statements.get(sql);
    if (known) return known;
    const fresh = sqlite.prepare<Value[]>(sql);
    statements.set(sql, fresh);
    return fresh;
  };
  const direct: Queries = {
    all: async <T>(sql: string, ...values: Value[]) => prepare(sql).all(...values) as T[],
    run: async (sql, ...values) => prepare(sql).run(...values).changes,
  };
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };
  const transaction = <T>(work: (tx: Queries) => Promise<T>) => inTurn(() => allOrNothing(sqlite, direct, work));
  return {
    all: (sql, ...values) => inTurn(() => direct.all(sql, ...values)),
    run: (sql, ...values) => inTurn(() => direct.run(sql, ...values)),
    transaction,
    migrate: (stage, steps) => transaction((tx) => migrate(sqlite, tx, stage, steps)),
    close: () =>
      inTurn(async () => {
        sqlite.close();
        lock.close();
      }),
  };
}

/**
 * One hub a folder: a second one would take the first one's runs for dead and its half-written pictures for rubbish.
 * SQLite's lock is the operating system's, so it is gone with the process that held it, however that ended.
 */
function takeLock(file: string): BetterSqlite3.Database {
  try {
    const lock = new BetterSqlite3(file, { timeout: 0 });
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    if ((error as { code?: string }).code !== "SQLITE_BUSY") throw unusable(file, error);
    throw new KenpinError("data-folder-in-use", `another hub uses ${dirname(file)}; stop it, or choose another folder with --data`);
  }
}

function open(file: string): BetterSqlite3.Database {
  try {
    const sqlite = new BetterSqlite3(file, { timeout: BUSY_TIMEOUT_MS });
    sqlite.pragma("journal_mode = WAL");
    sqlite.pragma("synchronous = FULL");
    sqlite.pragma("foreign_keys = ON");
    sqlite.exec("CREATE TABLE IF NOT EXISTS migrations (stage TEXT PRIMARY KEY, steps INTEGER NOT NULL) STRICT");
    return sqlite;
  } catch (error) {
    throw unusable(file, error);
  }
}

function unusable(file: string, error: unknown): KenpinError {
  return new KenpinError(
    "database-unusable",
    `the hub's database ${file} cannot be opened: ${(error as Error).message}; restore it or choose another --data folder`,
    { cause: error },
  );
}

async function allOrNothing<T>(sqlite: BetterSqlite3.Database, direct: Queries, work: (tx: Queries) => Promise<T>): Promise<T> {
  sqlite.exec("BEGIN IMMEDIATE");
  try {
    const result = await work(direct);
    sqlite.exec("COMMIT");
    return result;
  } catch (error) {
    if (sqlite.inTransaction) sqlite.exec("ROLLBACK"); // SQLite itself rolls back on a full disk
    throw error;
  }
}

async function migrate(sqlite: BetterSqlite3.Database, tx: Queries, stage: string, steps: readonly string[]): Promise<void> {
  const [row] = await tx.all<{ steps: number }>("SELECT steps FROM migrations WHERE stage = ?", stage);
  const taken = row?.steps ?? 0;
  if (taken > steps.length) {
    throw new KenpinError(
      "database-newer",
      `the hub's database was last used by a newer kenpin (${stage}: step ${taken}, this one knows ${steps.length}); update kenpin`,
    );
  }
  for (const step of steps.slice(taken)) sqlite.exec(step);
  await tx.run("INSERT INTO migrations VALUES (?, ?) ON CONFLICT DO UPDATE SET steps = excluded.steps", stage, steps.length);
}
