/** A database that an earlier agent wrote is brought to the newest layout with everything in it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { pino } from "pino";
import { openDatabase, readFact } from "../../edge-agent/src/database.ts";
import { Outbox } from "../../edge-agent/src/record/outbox.ts";
import { EvidenceStore } from "../../edge-agent/src/samples/evidence-store.ts";

const LAYOUT_4 = readFileSync(join(import.meta.dirname, "../fixtures/agent/layout-4.sql"), "utf8");

test("what an agent of layout 4 left is all there in the newest layout, which takes what is new as well", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-layout-"));
  const file = join(folder, "agent.db");
  try {
    const old = new DatabaseSync(file);
    old.exec(LAYOUT_4);
    old.close();
    const db = openDatabase(file);
    const outbox = new Outbox(db, pino({ level: "silent" }));
    assert.equal(readFact(db, "bundle.newest-release"), 7);
    assert.equal(outbox.count, 1);
    assert.equal(outbox.newest(), 1);
    const evidence = new EvidenceStore(db, folder);
    assert.deepEqual(evidence.pending(10), [{ sha256: "bb", type: "image/png" }]);
    assert.equal(await evidence.give(10, Date.now()), 0, "nobody knows when it was kept");
    assert.equal(db.prepare("SELECT count(*) FROM reference_frames").pluck().get(), 1);
    assert.equal(db.pragma("integrity_check", { simple: true }), "ok");
    const layout = db.pragma("user_version", { simple: true });
    db.close();
    const again = openDatabase(file);
    assert.equal(again.pragma("user_version", { simple: true }), layout);
    again.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
