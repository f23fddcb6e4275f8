/**
 * Verdicts and samples as the hub has committed them, and how far each boot of each agent reaches without a gap.
 * In: parsed messages, inside the caller's transaction. Out: what each one turned out to be, and the fronts to acknowledge.
 * A seq is committed once per (site, agent, boot): as a row, or as quarantined bytes that no contract takes.
 */
import { ContiguousFront } from "@kenpin/messaging";
import type { Ack, Sample, Verdict, VerdictRow } from "@kenpin/schema";
import type { Database, Queries } from "../ports.ts";

/** `ahead` holds only seqs beyond the front, so verdicts may be pruned without a front ever falling back. */
const TABLES = [
  `CREATE TABLE verdicts (
     row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, site TEXT NOT NULL, agent TEXT NOT NULL,
     boot TEXT NOT NULL, seq INTEGER NOT NULL, outcome TEXT NOT NULL, received_at TEXT NOT NULL, body TEXT NOT NULL,
     UNIQUE (site, agent, boot, seq)) STRICT;
   CREATE TABLE samples (
     row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, site TEXT NOT NULL, agent TEXT NOT NULL,
     boot TEXT NOT NULL, seq INTEGER NOT NULL, frame TEXT NOT NULL, map TEXT, received_at TEXT NOT NULL, body TEXT NOT NULL,
     UNIQUE (site, agent, boot, seq)) STRICT;
   CREATE INDEX samples_by_frame ON samples (frame);
   CREATE INDEX samples_by_map ON samples (map);
   CREATE TABLE verdict_counts (
     site TEXT NOT NULL, agent TEXT NOT NULL, outcome TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (site, agent, outcome)) STRICT;
   CREATE TABLE fronts (
     site TEXT NOT NULL, agent TEXT NOT NULL, boot TEXT NOT NULL, reached INTEGER NOT NULL, touched INTEGER NOT NULL,
     PRIMARY KEY (site, agent, boot)) STRICT;
   CREATE TABLE ahead (
     site TEXT NOT NULL, agent TEXT NOT NULL, boot TEXT NOT NULL, seq INTEGER NOT NULL,
     PRIMARY KEY (site, agent, boot, seq)) STRICT;
   CREATE TABLE quarantine (
     row INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, agent TEXT NOT NULL, boot TEXT NOT NULL, seq INTEGER NOT NULL,
     topic TEXT NOT NULL, why TEXT NOT NULL, received_at TEXT NOT NULL, raw BLOB NOT NULL) STRICT`,
];

/** Every acknowledgement names this many boots at most; a boot that speaks again comes back to the top. */
const ACKNOWLEDGED_BOOTS = 64;
/** Evidence for whoever looks into it, not a second store. */
const QUARANTINE_ROWS = 10_000;
const QUARANTINED_BYTES = 64 * 1024;

/** Whose message: as its topic says, which the broker's access list vouches for. */
export type Source = { site: string; agent: string; boot: string; seq: number };
export type Entry = Source & { topic: string; raw: Uint8Array } & (
    | { kind: "verdict"; value: Verdict }
    | { kind: "sample"; value: Sample }
    | { kind: "bad"; why: string }
  );
export type Recorded =
  | { kind: "verdict"; row: VerdictRow }
  | { kind: "sample"; sample: Sample }
  | { kind: "duplicate" }
  | { kind: "quarantined"; why: string };
export type Ledger = Awaited<ReturnType<typeof openLedger>>;

export async function openLedger(database: Database) {
  await database.migrate("ledger", TABLES);
  const [newest] = await database.all<{ touched: number | null }>("SELECT max(touched) AS touched FROM fronts");
  let clock = newest?.touched ?? 0;

  /** Commits one message within `tx`. */
  const record = async (tx: Queries, entry: Entry, receivedAt: string): Promise<Recorded> => {
    const reached = await touch(tx, entry, ++clock);
    if (entry.seq <= reached || !(await reserve(tx, entry))) return known(tx, entry, receivedAt);
    const recorded = await insert(tx, entry, receivedAt);
    if (entry.seq === reached + 1) await advance(tx, entry, reached);
    return recorded;
  };

  /** An agent's outbox begins at `from`: what came before it is gone there and can never come again. */
  const raise = async (tx: Queries, boot: Omit<Source, "seq">, from: number): Promise<void> => {
    const reached = await touch(tx, boot, ++clock);
    if (reached < from - 1) await advance(tx, boot, from - 1);
  };

  const ack = async (site: string, agent: string): Promise<Ack> => {
    const sql = "SELECT boot AS bootId, reached AS seq FROM fronts WHERE site = ? AND agent = ? ORDER BY touched DESC LIMIT ?";
    return { schemaVersion: 1, boots: await database.all(sql, site, agent, ACKNOWLEDGED_BOOTS) };
  };

  return { record, raise, ack };
}

/** Marks the boot as heard of; answers with how far its front reaches. */
async function touch(tx: Queries, { site, agent, boot }: Omit<Source, "seq">, clock: number): Promise<number> {
  const sql = "INSERT INTO fronts VALUES (?, ?, ?, 0, ?) ON CONFLICT DO UPDATE SET touched = excluded.touched RETURNING reached";
  const [row] = await tx.all<{ reached: number }>(sql, site, agent, boot, clock);
  return row?.reached ?? 0;
}

/** Moves the front from `reached` over everything committed ahead of it without a gap. */
async function advance(tx: Queries, { site, agent, boot }: Omit<Source, "seq">, reached: number): Promise<void> {
  const front = new ContiguousFront(reached);
  const ahead = await tx.all<{ seq: number }>("SELECT seq FROM ahead WHERE site = ? AND agent = ? AND boot = ?", site, agent, boot);
  for (const { seq } of ahead) front.add(seq);
  await tx.run("UPDATE fronts SET reached = ? WHERE site = ? AND agent = ? AND boot = ?", front.reached, site, agent, boot);
  await tx.run("DELETE FROM ahead WHERE site = ? AND agent = ? AND boot = ? AND seq <= ?", site, agent, boot, front.reached);
}

/** False where this seq was committed before. */
async function reserve(tx: Queries, { site, agent, boot, seq }: Source): Promise<boolean> {
  return (await tx.run("INSERT INTO ahead VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", site, agent, boot, seq)) === 1;
}

async function insert(tx: Queries, entry: Entry, receivedAt: string): Promise<Recorded> {
  if (entry.kind === "bad") return quarantine(tx, entry, entry.why, receivedAt);
  const { site, agent, boot, seq, value } = entry;
  const body = JSON.stringify(value);
  if (entry.kind === "verdict") {
    const { id, outcome } = entry.value;
    const sql = `INSERT INTO verdicts (id, site, agent, boot, seq, outcome, received_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO NOTHING RETURNING row`;
    const [added] = await tx.all<{ row: number }>(sql, id, site, agent, boot, seq, outcome, receivedAt, body);
    if (!added) return quarantine(tx, entry, "id-taken", receivedAt);
    const count = "INSERT INTO verdict_counts VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1";
    await tx.run(count, site, agent, outcome);
    return { kind: "verdict", row: { row: added.row, verdict: entry.value, receivedAt } };
  }
  const { id, frame, map } = entry.value;
  const sql = `INSERT INTO samples (id, site, agent, boot, seq, frame, map, received_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING`;
  const added = await tx.run(sql, id, site, agent, boot, seq, frame.sha256, map?.sha256 ?? null, receivedAt, body);
  return added === 1 ? { kind: "sample", sample: entry.value } : quarantine(tx, entry, "id-taken", receivedAt);
}

/** The seq was committed before: the same message again is a duplicate, another one under its number is kept aside. */
async function known(tx: Queries, entry: Entry, receivedAt: string): Promise<Recorded> {
  if (entry.kind === "bad") return { kind: "duplicate" };
  const { site, agent, boot, seq } = entry;
  const ids = (table: string) => `SELECT id FROM ${table} WHERE site = ? AND agent = ? AND boot = ? AND seq = ?`;
  const place = [site, agent, boot, seq] as const;
  const [held] = await tx.all<{ id: string }>(`${ids("verdicts")} UNION ALL ${ids("samples")}`, ...place, ...place);
  return !held || held.id === entry.value.id ? { kind: "duplicate" } : quarantine(tx, entry, "seq-taken", receivedAt);
}

async function quarantine(tx: Queries, entry: Entry, why: string, receivedAt: string): Promise<Recorded> {
  const { site, agent, boot, seq, topic, raw } = entry;
  const columns = "(site, agent, boot, seq, topic, why, received_at, raw)";
  const sql = `INSERT INTO quarantine ${columns} VALUES (?, ?, ?, ?, ?, ?, ?, ?)`;
  await tx.run(sql, site, agent, boot, seq, topic, why, receivedAt, raw.subarray(0, QUARANTINED_BYTES));
  await tx.run("DELETE FROM quarantine WHERE row <= (SELECT max(row) FROM quarantine) - ?", QUARANTINE_ROWS);
  return { kind: "quarantined", why };
}
