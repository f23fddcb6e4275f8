/** The moment between the commit and the acknowledgement, held still: the hub's own ledger over a real file, without its broker. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { agentTopics, KenpinError } from "@kenpin/schema";
import { pino } from "pino";
import { startIngest } from "../../../cloud-trainer/src/samples/ingest.ts";
import { openLedger } from "../../../cloud-trainer/src/samples/ledger.ts";
import { openDatabase } from "../../../cloud-trainer/src/serve/database.ts";
import { makeVerdict, until } from "../../support/hub.ts";

test("a verdict that was committed but never acknowledged is acknowledged by the next start, and its repetition changes nothing", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-ledger-"));
  const verdict = makeVerdict({ bootId: randomUUID(), seq: 1 });
  const topic = agentTopics("demo", "edge-1").verdict("line");
  const message = { topic, payload: verdict, raw: Buffer.from(JSON.stringify(verdict)) };
  try {
    const killed = await open(folder, () => Promise.reject(new KenpinError("broker-away", "the broker is away")));
    killed.ingest.accept(message);
    await until("the commit", async () => (await killed.rows()).length === 1);
    await killed.close();

    const acks: unknown[] = [];
    const next = await open(folder, async (_topic, payload) => void acks.push(payload));
    await next.ingest.acknowledge([{ site: "demo", agent: "edge-1" }]);
    assert.deepEqual(acks, [{ schemaVersion: 1, boots: [{ bootId: verdict.bootId, seq: 1 }] }]);
    next.ingest.accept(message);
    await until("the repetition", () => next.ingest.counts.duplicates === 1);
    assert.equal((await next.rows()).length, 1);
    await next.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("when the transaction fails nothing is acknowledged, and it is tried again", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-ledger-"));
  const verdict = makeVerdict({ bootId: randomUUID(), seq: 1 });
  const topic = agentTopics("demo", "edge-1").verdict("line");
  try {
    const acks: unknown[] = [];
    const hub = await open(folder, async (_topic, payload) => void acks.push(payload));
    await hub.database.run("ALTER TABLE verdicts RENAME TO elsewhere");
    hub.ingest.accept({ topic, payload: verdict, raw: Buffer.from("{}") });
    await until("the failure", () => hub.failures() > 0);
    assert.deepEqual(acks, []);
    await hub.database.run("ALTER TABLE elsewhere RENAME TO verdicts");
    await until("the acknowledgement", () => acks.length === 1);
    assert.equal((await hub.rows()).length, 1);
    await hub.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

async function open(folder: string, publish: (topic: string, payload: unknown) => Promise<void>) {
  let failed = 0;
  const database = openDatabase(join(folder, "hub.sqlite"));
  const ledger = await openLedger(database);
  const nothing = () => undefined;
  const log = pino({ level: "error" }, { write: () => void failed++ });
  const ingest = startIngest({ database, ledger, publish, emit: nothing, onSample: nothing, onAgent: nothing, log });
  return {
    database,
    ingest,
    failures: () => failed,
    rows: () => database.all("SELECT id FROM verdicts"),
    close: async () => {
      await ingest.stop();
      await database.close();
    },
  };
}
