/**
 * Verdicts that the hub has acknowledged, kept here for a while: what a line decided last month can be asked where it was decided,
 * also while the hub is away. In: rows of the outbox, inside the transaction that frees them. Out: the newest ones, and the oldest
 * when there is no place for them any more.
 */
import type { Verdict } from "@kenpin/schema";
import type { Database } from "../database.ts";
import type { Shelf } from "./retention.ts";

export type HistoryLimits = { days: number; bytes: number };

const DAY_MS = 86_400_000;

export class VerdictHistory implements Shelf {
  readonly name = "acknowledged verdicts";
  readonly limits: Shelf["limits"];
  #db: Database;

  constructor(db: Database, { days, bytes }: HistoryLimits) {
    this.#db = db;
    this.limits = { bytes, ageMs: days * DAY_MS };
  }

  /** Inside a transaction, before the outbox frees them. */
  keep(bootId: string, upTo: number, now: number): void {
    if (this.limits.bytes === 0 || this.limits.ageMs === 0) return;
    this.#db
      .prepare(
        `INSERT OR IGNORE INTO verdicts (boot_id, seq, camera, outcome, acknowledged_at, payload)
         SELECT boot_id, seq, camera, outcome, ?, payload FROM outbox WHERE boot_id = ? AND seq <= ? AND kind = 'verdict' ORDER BY seq`,
      )
      .run(now, bootId, upTo);
  }

  bytes(): number {
    return this.#db.prepare("SELECT bytes FROM verdicts_size").pluck().get() as number;
  }

  /** The oldest alone are looked at: their order is that of their acknowledgement, so none behind a younger one is much older. */
  give(most: number, before = Number.MAX_SAFE_INTEGER): number {
    return this.#db
      .prepare(
        `DELETE FROM verdicts WHERE id IN (
           SELECT id FROM (SELECT id, acknowledged_at FROM verdicts ORDER BY id LIMIT ?) WHERE acknowledged_at < ?)`,
      )
      .run(most, before).changes;
  }
}

/** The newest ones of an outcome, whether the hub has them or not. */
export function newestVerdicts(db: Database, outcome: Verdict["outcome"], limit: number): Verdict[] {
  const sql = (table: string) => `SELECT payload FROM ${table} WHERE outcome = ? ORDER BY id DESC LIMIT ?`;
  const rows = ["outbox", "verdicts"].flatMap((table) => db.prepare(sql(table)).pluck().all(outcome, limit) as string[]);
  return rows.slice(0, limit).map((payload) => JSON.parse(payload) as Verdict);
}
