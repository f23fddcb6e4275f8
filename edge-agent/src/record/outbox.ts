/**
 * What the hub has not acknowledged yet, oldest first. A row goes only when the hub's `ack` covers it.
 * Bounded: past the limits rows are shed in order of worth, the oldest first: passed parts, samples, unknowns; a failed part
 * never. Shedding is logged, and the gap it leaves is stepped over by the hub through the status' `outbox`.
 */
import type { Ack, Sample, Verdict } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Database } from "../database.ts";

export type OutboxRow = { id: number; kind: "verdict" | "sample"; camera: string; payload: string };
type Entry = { kind: "verdict" | "sample"; message: Verdict | Sample; outcome: string };

/** Takes what the hub has acknowledged, inside the transaction that frees it. */
export type Archive = { keep: (bootId: string, upTo: number, now: number) => void };
export type OutboxLimits = { rows: number; bytes: number };
/** Two days at ten verdicts a second, and the disk they may take. */
const LIMITS: OutboxLimits = { rows: 2_000_000, bytes: 3 * 1024 ** 3 };
const SHED_ORDER = ["pass", "sample", "unknown"];
/** Shed this share of the limit at once, so that a full outbox does not shed on every frame. */
const SHED_RATIO = 0.01;

export class Outbox {
  #db: Database;
  #log: Logger;
  #limits: OutboxLimits;
  #bootId = "";
  #size: { count: number; bytes: number };
  #saidFull = false;
  #shedRows = 0;
  #archive: Archive | null;

  constructor(db: Database, log: Logger, { limits = LIMITS, archive = null }: { limits?: OutboxLimits; archive?: Archive | null } = {}) {
    this.#db = db;
    this.#log = log;
    this.#limits = limits;
    this.#archive = archive;
    this.#size = this.#measure();
  }

  get count(): number {
    return this.#size.count;
  }

  get bytes(): number {
    return this.#size.bytes;
  }

  /** Rows given up since the start, by a full outbox or a full disk. */
  get shedRows(): number {
    return this.#shedRows;
  }

  /** Id of the newest row; 0 where there is none. */
  newest(): number {
    return (this.#db.prepare("SELECT max(id) FROM outbox").pluck().get() as number | null) ?? 0;
  }

  begin(bootId: string): void {
    this.#bootId = bootId;
    this.#db.prepare("DELETE FROM boots WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.boot_id = boots.boot_id)").run();
    this.#db.prepare("INSERT INTO boots (boot_id) VALUES (?)").run(bootId);
  }

  /** Inside the caller's transaction; `grew` follows once it is committed. */
  add({ kind, message, outcome }: Entry): void {
    const payload = JSON.stringify(message);
    this.#db
      .prepare("INSERT INTO outbox (boot_id, seq, kind, camera, outcome, payload) VALUES (?, ?, ?, ?, ?, ?)")
      .run(message.bootId, message.seq, kind, message.camera, outcome, payload);
  }

  grew(): void {
    this.#size = this.#measure();
    if (this.#isFull()) this.#shed();
    else this.#saidFull = false;
  }

  /** Rows after `id`, oldest first. */
  after(id: number, limit: number): OutboxRow[] {
    return this.#db
      .prepare<[number, number], OutboxRow>("SELECT id, kind, camera, payload FROM outbox WHERE id > ? ORDER BY id LIMIT ?")
      .all(id, limit);
  }

  /** How many rows up to `id` still wait. */
  waitingUpTo(id: number): number {
    return this.#db.prepare("SELECT count(*) FROM outbox WHERE id <= ?").pluck().get(id) as number;
  }

  /** Frees what the hub has committed; answers how many rows that were. */
  acknowledge({ boots }: Ack): number {
    const free = this.#db.prepare("DELETE FROM outbox WHERE boot_id = ? AND seq <= ?");
    const freeAll = (archive: Archive | null) =>
      this.#db.transaction(() =>
        boots.reduce((sum, { bootId, seq }) => {
          archive?.keep(bootId, seq, Date.now());
          return sum + free.run(bootId, seq).changes;
        }, 0),
      )();
    try {
      return freeAll(this.#archive);
    } catch (error) {
      if (!this.#archive) throw error;
      return freeAll(null); // a disk that is full has room for less, not for more
    } finally {
      this.#size = this.#measure();
    }
  }

  /** Gives up samples, the oldest first; their pictures go unannounced. Verdicts that wait are never given for room. */
  giveSamples(most: number): number {
    const given = this.#delete("sample", most);
    this.#size = this.#measure();
    return given;
  }

  /** Where each boot's stream begins for the hub; oldest first, the running boot always among them. */
  starts(next: number, limit = 64): { bootId: string; from: number }[] {
    const rows = this.#db
      .prepare<[string, number], { bootId: string; from: number }>(
        `SELECT boot_id AS bootId, (SELECT min(seq) FROM outbox WHERE outbox.boot_id = boots.boot_id) AS "from"
         FROM boots WHERE boot_id <> ? AND "from" IS NOT NULL ORDER BY place LIMIT ?`,
      )
      .all(this.#bootId, limit - 1);
    const own = this.#db.prepare("SELECT min(seq) FROM outbox WHERE boot_id = ?").pluck().get(this.#bootId) as number | null;
    return [...rows, { bootId: this.#bootId, from: own ?? next }];
  }

  #shed(): void {
    const rows = Math.ceil(this.#limits.rows * SHED_RATIO);
    for (const outcome of SHED_ORDER) {
      const shed = this.#delete(outcome, rows);
      if (shed === 0) continue;
      this.#size = this.#measure();
      this.#log.error({ outcome, rows: shed, left: this.#size.count }, "outbox-shed");
      return;
    }
    if (!this.#saidFull) this.#log.error(this.#size, "outbox-full-of-failed-parts");
    this.#saidFull = true;
  }

  #delete(outcome: string, most: number): number {
    const sql = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE outcome = ? ORDER BY id LIMIT ?)";
    const gone = this.#db.prepare(sql).run(outcome, most).changes;
    this.#shedRows += gone;
    return gone;
  }

  #isFull(): boolean {
    return this.#size.count > this.#limits.rows || this.#size.bytes > this.#limits.bytes;
  }

  /** Kept by triggers, since adding up millions of rows takes seconds. */
  #measure(): { count: number; bytes: number } {
    return this.#db.prepare<[], { count: number; bytes: number }>("SELECT count, bytes FROM outbox_size").get() ?? { count: 0, bytes: 0 };
  }
}
