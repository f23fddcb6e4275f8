/** What is kept of acknowledged verdicts and of pictures, and what each gives when it has to. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pino } from "pino";
import { type Database, openDatabase } from "../../../edge-agent/src/database.ts";
import { newestVerdicts, VerdictHistory } from "../../../edge-agent/src/record/history.ts";
import { Outbox } from "../../../edge-agent/src/record/outbox.ts";
import { EvidenceStore } from "../../../edge-agent/src/samples/evidence-store.ts";

const log = pino({ level: "silent" });
const BOOT = "01890000-0000-7000-8000-000000000000";

test("an acknowledged verdict leaves the outbox and stays in the history, a sample does not", async () => {
  await withData((db) => {
    const { outbox, history } = open(db, { days: 30, bytes: 1e6 });
    for (let seq = 1; seq <= 4; seq++) add(db, seq, seq === 3 ? "sample" : "fail");
    assert.equal(outbox.acknowledge({ schemaVersion: 1, boots: [{ bootId: BOOT, seq: 3 }] }), 3);
    assert.deepEqual(db.prepare("SELECT seq FROM verdicts").pluck().all(), [1, 2]);
    assert.equal(history.bytes(), 2 * Buffer.byteLength(payload(1)));
    assert.deepEqual(
      newestVerdicts(db, "fail", 10).map(({ seq }) => seq),
      [4, 2, 1],
    );
    assert.equal(history.give(1), 1);
    assert.deepEqual(db.prepare("SELECT seq FROM verdicts").pluck().all(), [2]);
    assert.equal(history.give(10, Date.now() - 1000), 0);
    assert.equal(history.give(10, Date.now() + 1000), 1);
    assert.equal(history.bytes(), 0);
  });
});

test("a history of no days keeps nothing, and one that cannot be written keeps no row from being freed", async () => {
  await withData((db) => {
    const { outbox } = open(db, { days: 0, bytes: 1e6 });
    add(db, 1, "fail");
    outbox.acknowledge({ schemaVersion: 1, boots: [{ bootId: BOOT, seq: 1 }] });
    assert.equal(db.prepare("SELECT count(*) FROM verdicts").pluck().get(), 0);
    const broken = new Outbox(db, log, {
      archive: {
        keep: () => {
          throw new Error("the disk is full");
        },
      },
    });
    add(db, 2, "fail");
    assert.equal(broken.acknowledge({ schemaVersion: 1, boots: [{ bootId: BOOT, seq: 2 }] }), 1);
    assert.equal(broken.count, 0);
  });
});

test("for room samples are given, the oldest first, and verdicts that wait never are", async () => {
  await withData((db) => {
    const { outbox } = open(db, { days: 30, bytes: 1e6 });
    for (let seq = 1; seq <= 6; seq++) add(db, seq, seq % 2 === 0 ? "sample" : "pass");
    assert.equal(outbox.giveSamples(2), 2);
    assert.equal(outbox.giveSamples(10), 1);
    assert.equal(outbox.giveSamples(10), 0);
    assert.equal(outbox.shedRows, 3);
    assert.deepEqual(db.prepare("SELECT seq FROM outbox ORDER BY seq").pluck().all(), [1, 3, 5]);
  });
});

test("pictures are given with their files, the oldest first; one stamped before the clock was set has no age", async () => {
  await withData(async (db, folder) => {
    const store = new EvidenceStore(db, folder);
    const names = ["a", "b", "c"].map((letter) => letter.repeat(64)) as [string, string, string];
    for (const [i, sha256] of names.entries()) {
      const picture = { sha256, bytes: new Uint8Array(100 + i), type: "image/png" as const };
      await store.keep(picture);
      store.add(picture, { bootId: BOOT, seq: i + 1, camera: "line", evidence: "frame" });
    }
    assert.equal(store.bytes(), 303);
    db.prepare("UPDATE evidence SET kept_at = 86400000 WHERE sha256 = ?").run(names[1]);
    db.prepare("UPDATE evidence SET kept_at = ? WHERE sha256 = ?").run(Date.UTC(2025, 5, 1), names[2]);
    assert.equal(await store.give(10, Date.UTC(2025, 6, 1)), 1);
    assert.deepEqual(
      names.map((name) => existsSync(join(folder, "evidence", name))),
      [true, true, false],
    );
    assert.equal(await store.give(1), 1);
    assert.deepEqual(
      store.pending(10).map(({ sha256 }) => sha256),
      [names[1]],
    );
    assert.equal(db.prepare("SELECT count(*) FROM evidence_uses").pluck().get(), 1);
  });
});

function open(db: Database, limits: { days: number; bytes: number }) {
  const history = new VerdictHistory(db, limits);
  return { history, outbox: new Outbox(db, log, { archive: history }) };
}

function add(db: Database, seq: number, outcome: "pass" | "fail" | "sample"): void {
  const kind = outcome === "sample" ? "sample" : "verdict";
  db.prepare("INSERT INTO outbox (boot_id, seq, kind, camera, outcome, payload) VALUES (?, ?, ?, 'line', ?, ?)").run(
    BOOT,
    seq,
    kind,
    outcome,
    payload(seq),
  );
}

function payload(seq: number): string {
  return JSON.stringify({ seq, text: "検品" });
}

async function withData(work: (db: Database, folder: string) => void | Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-history-"));
  const db = openDatabase(join(folder, "agent.db"));
  try {
    await work(db, folder);
  } finally {
    db.close();
    await rm(folder, { recursive: true, force: true });
  }
}
