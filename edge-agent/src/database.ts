/**
 * The agent's one SQLite file: opened, made durable, and brought to the newest layout. Each stage owns its queries.
 * WAL with synchronous=FULL: a committed row survives a power cut, since every commit waits for its fsync.
 * The data folder's lock is SQLite's too: the kernel drops it with its process, so a stale one cannot keep an agent out.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { errorLine, KenpinError } from "@kenpin/schema";
import BetterSqlite from "better-sqlite3";

export type Database = BetterSqlite.Database;
/** Single values kept by name; who writes one owns it. */
export type FactName =
  | "bundle.current"
  | "bundle.fallback"
  | "bundle.newest-release"
  | "bundle.rolled-back"
  | "time.last-signed"
  | "references.active"
  | "references.teaching"
  | "cameras.paused"
  | "settings.active"
  | "settings.base-set"
  | "database.quarantine";

const BUSY_MS = 5000;

/** One entry a layout version; never changed once released, only added to. */
const MIGRATIONS = [
  `
  CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE boots (place INTEGER PRIMARY KEY AUTOINCREMENT, boot_id TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('verdict', 'sample')),
    camera TEXT NOT NULL,
    outcome TEXT NOT NULL,
    payload TEXT NOT NULL,
    UNIQUE (boot_id, seq)
  ) STRICT;
  CREATE INDEX outbox_by_worth ON outbox (outcome, id);
  CREATE TABLE outbox_size (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
  INSERT INTO outbox_size VALUES (1, 0, 0);
  CREATE TRIGGER outbox_grows AFTER INSERT ON outbox BEGIN
    UPDATE outbox_size SET count = count + 1, bytes = bytes + octet_length(NEW.payload);
  END;
  CREATE TRIGGER outbox_shrinks AFTER DELETE ON outbox BEGIN
    UPDATE outbox_size SET count = count - 1, bytes = bytes - octet_length(OLD.payload);
  END;
  CREATE TABLE taken (
    camera TEXT NOT NULL,
    trigger_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    modified_ns TEXT NOT NULL,
    verdict_id TEXT NOT NULL,
    PRIMARY KEY (camera, trigger_id, sha256)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE evidence (sha256 TEXT PRIMARY KEY, type TEXT NOT NULL, uploaded INTEGER NOT NULL DEFAULT 0) STRICT;
  CREATE TABLE evidence_uses (
    sha256 TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (sha256, boot_id, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE sample_days (day TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (day, reason)) STRICT;
  CREATE TABLE commands (id TEXT PRIMARY KEY, expires_at TEXT NOT NULL) STRICT;
  CREATE TABLE reference_frames (
    set_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (set_id, position)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE evidence_uses ADD COLUMN camera TEXT;
  ALTER TABLE evidence_uses ADD COLUMN policy TEXT;
  UPDATE evidence_uses SET camera = o.camera, policy = json_extract(o.payload, '$.evidence')
    FROM outbox o WHERE o.boot_id = evidence_uses.boot_id AND o.seq = evidence_uses.seq;
  `,
  `
  ALTER TABLE reference_frames ADD COLUMN label TEXT NOT NULL DEFAULT 'good' CHECK (label IN ('good', 'bad'));
  `,
  `
  CREATE TABLE settings (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL,
    bundle TEXT NOT NULL,
    set_id TEXT NOT NULL,
    before INTEGER NOT NULL,
    file TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at TEXT NOT NULL,
    signed_by TEXT NOT NULL CHECK (signed_by IN ('this device', 'root-named key')),
    summary TEXT NOT NULL
  ) STRICT;
  CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
  `,
  `
  CREATE TABLE drift_references (camera TEXT PRIMARY KEY, decided_by TEXT NOT NULL, at TEXT NOT NULL, rows TEXT NOT NULL) STRICT;
  `,
  `
  ALTER TABLE evidence ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE evidence ADD COLUMN kept_at INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    camera TEXT NOT NULL,
    outcome TEXT NOT NULL,
    acknowledged_at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    UNIQUE (boot_id, seq)
  ) STRICT;
  CREATE INDEX verdicts_by_outcome ON verdicts (outcome, id);
  CREATE TABLE verdicts_size (one INTEGER PRIMARY KEY CHECK (one = 1), bytes INTEGER NOT NULL) STRICT;
  INSERT INTO verdicts_size VALUES (1, 0);
  CREATE TRIGGER verdicts_grow AFTER INSERT ON verdicts BEGIN
    UPDATE verdicts_size SET bytes = bytes + octet_length(NEW.payload);
  END;
  CREATE TRIGGER verdicts_shrink AFTER DELETE ON verdicts BEGIN
    UPDATE verdicts_size SET bytes = bytes - octet_length(OLD.payload);
  END;
  `,
];

export function databaseFile(dataDir: string): string {
  return join(dataDir, "agent.db");
}

export function openDatabase(file: string): Database {
  mkdirSync(dirname(file), { recursive: true });
  try {
    const db = new BetterSqlite(file, { timeout: BUSY_MS });
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = FULL");
    db.pragma("foreign_keys = ON");
    migrate(db, file);
    return db;
  } catch (error) {
    throw unusable(file, error);
  }
}

/** For a look from outside while the agent runs, or after it ended. */
export function openForReading(file: string): Database {
  if (!existsSync(file)) throw new KenpinError("data-missing", `${file} is not there: no agent has run with this data folder yet`);
  try {
    return new BetterSqlite(file, { readonly: true, timeout: BUSY_MS });
  } catch (error) {
    throw unusable(file, error);
  }
}

/** One agent a data folder. The pid beside the lock only helps people; holding it is what counts. */
export function lockDataDir(dataDir: string): { release: () => void } {
  mkdirSync(dataDir, { recursive: true });
  const pidFile = join(dataDir, "agent.pid");
  const lock = new BetterSqlite(join(dataDir, "agent.lock"), { timeout: 0 });
  try {
    lock.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    lock.close();
    if ((error as { code?: string }).code !== "SQLITE_BUSY") throw unusable(join(dataDir, "agent.lock"), error);
    const holder = existsSync(pidFile) ? ` (process ${readFileSync(pidFile, "utf8").trim()})` : "";
    throw new KenpinError("data-in-use", `another agent${holder} runs on ${dataDir}; stop it, or give this one its own dataDir`);
  }
  writeFileSync(pidFile, `${process.pid}\n`);
  return { release: () => lock.close() };
}

export function readFact<T>(db: Database, name: FactName): T | null {
  const row = db.prepare<[string], { value: string }>("SELECT value FROM facts WHERE name = ?").get(name);
  return row ? (JSON.parse(row.value) as T) : null;
}

/** Keeps a single value under a name; null forgets it. */
export function writeFact(db: Database, name: FactName, value: unknown): void {
  if (value === null) db.prepare("DELETE FROM facts WHERE name = ?").run(name);
  else db.prepare("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)").run(name, JSON.stringify(value));
}

function migrate(db: Database, file: string): void {
  const version = db.pragma("user_version", { simple: true }) as number;
  if (version > MIGRATIONS.length) {
    throw new KenpinError(
      "database-too-new",
      `${file} has layout ${version}, this agent knows ${MIGRATIONS.length}; install a newer agent`,
    );
  }
  for (const [i, sql] of MIGRATIONS.entries()) {
    if (i < version) continue;
    db.transaction(() => {
      db.exec(sql);
      db.pragma(`user_version = ${i + 1}`);
    })();
  }
}

function unusable(file: string, error: unknown): KenpinError {
  if (error instanceof KenpinError) return error;
  return new KenpinError("database-unusable", `${file} cannot be used: ${errorLine(error)}; free the disk or restore the file`, {
    cause: error,
  });
}
