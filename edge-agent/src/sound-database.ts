/**
 * Opens the agent's database only after it was found whole. A damaged one is put aside under another name, a new one is begun, and
 * what can still be read of the old one moves over: what waits for the hub, what decides, and what guards against old releases and
 * commands sent twice. In: the file. Out: the database, and what was put aside, which is remembered until a person took it away.
 * Files up to WHOLE_CHECK_BYTES are checked whole; of larger ones the two tables that can grow are not, since a line does not wait.
 */
import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { errorLine, KenpinError } from "@kenpin/schema";
import { type Database, openDatabase, openForReading, readFact, writeFact } from "./database.ts";

/** Rows saved, by table. */
export type Quarantine = { file: string; at: string; why: string; saved: Record<string, number> };
type Opened = { db: Database; quarantine: Quarantine | null };

const QUARANTINE = "database.quarantine";
/** A third of a second for 54 MB in memory on two busy cores. */
const WHOLE_CHECK_BYTES = 64 * 1024 ** 2;
const GROWING = ["outbox", "verdicts"];
/** Of several damaged files the newest are kept; each may be as large as the disk allows. */
const KEPT_ASIDE = 2;
/** Text that others read as JSON. */
const JSON_COLUMNS: Record<string, string> = { facts: "value", outbox: "payload", verdicts: "payload", drift_references: "rows" };
/** Kept by triggers. */
const COUNTED = ["outbox_size", "verdicts_size"];

/** `quarantine` is set where the database was put aside just now. */
export function openSoundDatabase(file: string, now: () => Date = () => new Date()): Opened {
  const found = openWhole(file);
  if (typeof found !== "string") return { db: found, quarantine: null };
  const aside = putAside(file, now());
  const db = openDatabase(file);
  const quarantine: Quarantine = { file: basename(aside), at: now().toISOString(), why: found, saved: save(aside, db) };
  writeFact(db, QUARANTINE, quarantine);
  return { db, quarantine };
}

/** What was put aside, now or at an earlier start, and still lies there. */
export function readQuarantine(db: Database, folder: string): Quarantine | null {
  const quarantine = readFact<Quarantine>(db, QUARANTINE);
  return quarantine && existsSync(join(folder, quarantine.file)) ? quarantine : null;
}

/** The database, or what is wrong with it. */
function openWhole(file: string): Database | string {
  let db: Database | null = null;
  try {
    db = openDatabase(file);
    const fault = faultOf(db, statSync(file).size);
    if (!fault) return db;
    db.close();
    return fault;
  } catch (error) {
    db?.close();
    const cause = error instanceof KenpinError ? error.cause : error;
    if (!isDamage(cause)) throw error;
    return errorLine(cause);
  }
}

function faultOf(db: Database, bytes: number): string | null {
  const tables = bytes <= WHOLE_CHECK_BYTES ? [null] : tablesOf(db).filter((table) => !GROWING.includes(table));
  for (const table of tables) {
    const said = db.pragma(table === null ? "integrity_check(1)" : `integrity_check('${table}')`, { simple: true });
    if (said !== "ok") return String(said).split("\n").slice(0, 2).join(" ");
  }
  return null;
}

/** A disk that is full or a file that may not be read is no damage. */
function isDamage(error: unknown): boolean {
  return /^SQLITE_(CORRUPT|NOTADB)/.test(String((error as { code?: unknown } | null)?.code));
}

/** The file with what belongs to it; SQLite finds both under the new name too. */
function putAside(file: string, now: Date): string {
  const stamp = now.toISOString().replace(/[:.]/g, "-");
  const aside = `${file}.damaged-${stamp}`;
  for (const end of ["", "-wal", "-shm"]) if (existsSync(file + end)) renameSync(file + end, aside + end);
  const earlier = readdirSync(dirname(file)).filter((name) => name.startsWith(`${basename(file)}.damaged-`) && name.endsWith("Z"));
  for (const old of earlier.sort().slice(0, -KEPT_ASIDE)) {
    for (const end of ["", "-wal", "-shm"]) rmSync(join(dirname(file), old + end), { force: true });
  }
  return aside;
}

/** Row by row, each table as far as it can be read. */
function save(aside: string, to: Database): Record<string, number> {
  const saved: Record<string, number> = {};
  try {
    const from = openForReading(aside);
    try {
      for (const table of tablesOf(to)) saved[table] = to.transaction(() => saveTable(from, to, table))();
    } finally {
      from.close();
    }
  } catch (error) {
    if (!isDamage(error instanceof KenpinError ? error.cause : error)) throw error;
  }
  return saved;
}

function saveTable(from: Database, to: Database, table: string): number {
  let rows = 0;
  try {
    const known = columnsOf(from, table);
    const columns = columnsOf(to, table).filter((column) => known.includes(column));
    if (columns.length === 0) return 0;
    const json = JSON_COLUMNS[table];
    const list = columns.map((column) => `"${column}"`).join(", ");
    const insert = to.prepare(`INSERT OR IGNORE INTO ${table} (${list}) VALUES (${columns.map(() => "?").join(", ")})`);
    const read = from.prepare(`SELECT ${list} FROM ${table} ${json ? `WHERE json_valid("${json}")` : ""}`).raw();
    for (const row of read.iterate()) rows += insert.run(...(row as unknown[])).changes;
  } catch (error) {
    if (!isDamage(error) && !/malformed|no such/.test(errorLine(error))) throw error;
  }
  return rows;
}

function tablesOf(db: Database): string[] {
  const all = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").pluck().all() as string[];
  return all.filter((table) => !COUNTED.includes(table));
}

function columnsOf(db: Database, table: string): string[] {
  return (db.pragma(`table_info('${table}')`) as { name: string }[]).map(({ name }) => name);
}
