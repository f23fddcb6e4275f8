/**
 * What the agent keeps on its disk, and in which order it gives when there is no room: pictures, verdicts that the hub has, samples
 * that wait. In: the stores. Out: a Retention that runs. Room is what is free on the disk and inside the database, since freed pages
 * are written to again while the file stays as large as it was.
 */
import { statfs } from "node:fs/promises";
import type { AgentConfig } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Database } from "./database.ts";
import type { VerdictHistory } from "./record/history.ts";
import type { Outbox } from "./record/outbox.ts";
import { Retention } from "./record/retention.ts";
import type { EvidenceStore } from "./samples/evidence-store.ts";

export type RoomParts = {
  config: Pick<AgentConfig, "dataDir" | "record">;
  db: Database;
  evidence: EvidenceStore;
  history: VerdictHistory;
  outbox: Outbox;
  log: Logger;
};

const MB = 1024 ** 2;
const DAY_MS = 86_400_000;

export function keepRoom({ config: { dataDir, record }, db, evidence, history, outbox, log }: RoomParts): Retention {
  const pictures = {
    name: "pictures",
    limits: { bytes: record.pictureMb * MB, ageMs: record.pictureDays * DAY_MS },
    bytes: () => evidence.bytes(),
    give: (most: number, before?: number) => evidence.give(most, before),
  };
  const samples = {
    name: "samples",
    limits: { bytes: null, ageMs: null },
    bytes: () => 0,
    give: (most: number) => outbox.giveSamples(most),
  };
  return new Retention({
    shelves: [pictures, history, samples],
    room: () => roomOf(db, dataDir),
    keepFreeBytes: record.keepFreeMb * MB,
    now: Date.now,
    log,
  });
}

async function roomOf(db: Database, dataDir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dataDir);
  const pages = db.pragma("freelist_count", { simple: true }) as number;
  return bavail * bsize + pages * (db.pragma("page_size", { simple: true }) as number);
}
