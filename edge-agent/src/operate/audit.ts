/** Who changed what decides, and when: one row a change, never altered, in the agent's database. */
import type { AuditRow } from "@kenpin/schema";
import type { Database } from "../database.ts";

/** Years of changes made by hand. */
const ROWS = 10_000;

export function writeAudit(db: Database, { at, who, what, detail }: AuditRow): void {
  db.prepare("INSERT INTO audit (at, who, what, detail) VALUES (?, ?, ?, ?)").run(at, who, what, detail);
  db.prepare("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?").run(ROWS);
}

/** Newest first. */
export function readAudit(db: Database, limit = 100): AuditRow[] {
  return db.prepare<[number], AuditRow>("SELECT at, who, what, detail FROM audit ORDER BY id DESC LIMIT ?").all(limit);
}
