/** The reference of each camera's drift, kept over restarts: what changed while the agent was off is found as well. */
import type { Database } from "../database.ts";
import type { DriftReference, DriftWatchOptions } from "./drift-watch.ts";

type Stored = { decided_by: string; at: string; rows: string };

export function keptReference(db: Database, camera: string): DriftWatchOptions["kept"] {
  return {
    read: (): DriftReference | null => {
      const row = db.prepare<[string], Stored>("SELECT decided_by, at, rows FROM drift_references WHERE camera = ?").get(camera);
      return row ? { decidedBy: row.decided_by, at: row.at, rows: JSON.parse(row.rows) } : null;
    },
    write: (reference) => {
      if (!reference) db.prepare("DELETE FROM drift_references WHERE camera = ?").run(camera);
      else {
        db.prepare("INSERT OR REPLACE INTO drift_references (camera, decided_by, at, rows) VALUES (?, ?, ?, ?)").run(
          camera,
          reference.decidedBy,
          reference.at,
          JSON.stringify(reference.rows),
        );
      }
    },
  };
}
