/** What an agent's data folder tells from outside, whether it runs or not: for `status`. Nothing is written. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { AgentConfig } from "@kenpin/schema";
import { databaseFile, openForReading, readFact } from "../database.ts";

export type Standing = {
  agent: string;
  dataDir: string;
  pid: number | null;
  bundle: string | null;
  newestRelease: number | null;
  references: number;
  backlog: number;
  oldest: { bootId: string; seq: number } | null;
  picturesToUpload: number;
  paused: string[];
};

export function readStanding({ agent, dataDir }: AgentConfig): Standing {
  const db = openForReading(databaseFile(dataDir));
  try {
    const active = readFact<string>(db, "references.active") ?? "";
    const count = (sql: string, ...values: string[]) =>
      db
        .prepare(sql)
        .pluck()
        .get(...values) as number;
    return {
      agent,
      dataDir,
      pid: runningPid(dataDir),
      bundle: readFact<string>(db, "bundle.current"),
      newestRelease: readFact<number>(db, "bundle.newest-release"),
      references: count("SELECT count(*) FROM reference_frames WHERE set_id = ?", active),
      backlog: count("SELECT count(*) FROM outbox"),
      oldest: (db.prepare("SELECT boot_id AS bootId, seq FROM outbox ORDER BY id LIMIT 1").get() as Standing["oldest"]) ?? null,
      picturesToUpload: count("SELECT count(*) FROM evidence WHERE uploaded = 0"),
      paused: readFact<string[]>(db, "cameras.paused") ?? [],
    };
  } finally {
    db.close();
  }
}

function runningPid(dataDir: string): number | null {
  const file = join(dataDir, "agent.pid");
  if (!existsSync(file)) return null;
  const pid = Number(readFileSync(file, "utf8"));
  try {
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? pid : null;
  }
}
