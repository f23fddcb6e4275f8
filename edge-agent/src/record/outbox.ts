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
  #count: number;
  #bytes: number;
  #added = { count: 0, bytes: 0 };

  constructor(db: Database, log: Logger, limits: OutboxLimits = LIMITS) {
    this.#db = db;
    this.#log = log;
    this.#limits = limits;
    ({ count: this.#count, bytes: this.#bytes } = this.#measure());
  }

  get count(): number {
    return this.#count;
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
    this.#added = { count: 1, bytes: Buffer.byteLength(payload) };
  }

  grew(): void {
    this.#count += this.#added.count;
    this.#bytes += this.#added.bytes;
    if (this.#count > this.#limits.rows || this.#bytes > this.#limits.bytes) this.#shed();
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
    const freed = this.#db.transaction(() => boots.reduce((sum, { bootId, seq }) => sum + free.run(bootId, seq).changes, 0))();
    if (freed > 0) ({ count: this.#count, bytes: this.#bytes } = this.#measureAfter(freed));
    return freed;
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
      const shed = this.#db
        .prepare("DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE outcome = ? ORDER BY id LIMIT ?)")
        .run(outcome, rows).changes;
      if (shed === 0) continue;
      ({ count: this.#count, bytes: this.#bytes } = this.#measure());
      this.#log.error({ outcome, rows: shed, left: this.#count }, "outbox-shed");
      return;
    }
    this.#log.error({ rows: this.#count, bytes: this.#bytes }, "outbox-over-limit-with-failed-parts-only");
  }

  #measure(): { count: number; bytes: number } {
    return this.#db.prepare("SELECT count(*) AS count, coalesce(sum(octet_length(payload)), 0) AS bytes FROM outbox").get() as {
      count: number;
      bytes: number;
    };
  }

  /** Exact when empty; else the mean row's size stands for those freed, since adding up millions of rows takes seconds. */
  #measureAfter(freed: number): { count: number; bytes: number } {
    const count = this.#count - freed;
    return { count, bytes: count === 0 ? 0 : Math.round((this.#bytes * count) / this.#count) };
  }
}
