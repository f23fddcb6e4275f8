/**
 * What the stages of the hub are handed instead of importing one another: a database, a way to tell the pages something,
 * a message link. The database is asynchronous so that PostgreSQL can stand behind it; today SQLite does.
 */
import type { HubEvent } from "@kenpin/schema";

export type Value = string | number | null | Uint8Array;
export type Queries = {
  /** Rows of a SELECT or of a statement with RETURNING; their shape is the query's own business. */
  all: <T>(sql: string, ...values: Value[]) => Promise<T[]>;
  /** Runs a statement; answers with how many rows it changed. */
  run: (sql: string, ...values: Value[]) => Promise<number>;
};
export type Database = Queries & {
  /** All or nothing. `work` may await only `tx`: every other caller waits until it is done. */
  transaction: <T>(work: (tx: Queries) => Promise<T>) => Promise<T>;
  /** Brings a stage's tables up to date; steps already taken are never taken again, so they are only ever added to. */
  migrate: (stage: string, steps: readonly string[]) => Promise<void>;
  close: () => Promise<void>;
};

export type Emit = (event: HubEvent) => void;

/** A message an agent published, its payload not yet parsed by any contract. */
export type Message = { topic: string; payload: unknown; raw: Uint8Array };
export type Publish = (topic: string, payload: unknown, options?: { retain?: boolean }) => Promise<void>;
