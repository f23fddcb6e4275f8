/** What waits for the hub: on disk, in order, freed only by its acknowledgement, and bounded. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type Camera, Verdict } from "@kenpin/schema";
import { pino } from "pino";
import { type Database, openDatabase } from "../../../edge-agent/src/database.ts";
import type { Frame } from "../../../edge-agent/src/frame.ts";
import { Journal } from "../../../edge-agent/src/record/journal.ts";
import { Outbox, type OutboxLimits } from "../../../edge-agent/src/record/outbox.ts";

const log = pino({ level: "silent" });

test("a verdict committed before a restart waits after it, oldest first, under its own boot", async () => {
  await withFile(async (file) => {
    const first = open(file);
    for (let i = 0; i < 3; i++) commit(first.journal, "fail");
    first.db.close();
    const second = open(file);
    const verdict = commit(second.journal, "pass");
    assert.equal(second.outbox.count, 4);
    assert.deepEqual(
      second.outbox.after(0, 10).map(({ payload }) => Verdict.parse(JSON.parse(payload)).seq),
      [1, 2, 3, 1],
    );
    assert.deepEqual(second.outbox.starts(second.journal.nextSeq), [
      { bootId: first.journal.bootId, from: 1 },
      { bootId: verdict.bootId, from: 1 },
    ]);
    second.db.close();
  });
});

test("only an acknowledgement that covers a row frees it, whichever boot it is of", async () => {
  await withFile(async (file) => {
    const first = open(file);
    for (let i = 0; i < 5; i++) commit(first.journal, "pass");
    first.db.close();
    const { db, outbox, journal } = open(file);
    commit(journal, "pass");
    const ack = (bootId: string, seq: number) => outbox.acknowledge({ schemaVersion: 1, boots: [{ bootId, seq }] });
    assert.equal(ack(first.journal.bootId, 3), 3);
    assert.equal(ack(first.journal.bootId, 3), 0);
    assert.equal(ack(randomUUID(), 100), 0);
    assert.equal(outbox.count, 3);
    assert.deepEqual(outbox.starts(journal.nextSeq)[0], { bootId: first.journal.bootId, from: 4 });
    assert.equal(ack(journal.bootId, 1) + ack(first.journal.bootId, 5), 3);
    assert.equal(outbox.count, 0);
    assert.deepEqual(outbox.starts(journal.nextSeq), [{ bootId: journal.bootId, from: 2 }]);
    db.close();
  });
});

test("a commit that fails uses no seq and leaves no row", async () => {
  await withFile(async (file) => {
    const { db, outbox, journal } = open(file);
    const broken = () => {
      throw new Error("the disk is full");
    };
    assert.throws(() => journal.commitVerdict(draft("pass"), frame(), broken), /disk is full/);
    assert.equal(outbox.count, 0);
    assert.equal(outbox.after(0, 10).length, 0);
    assert.equal(commit(journal, "pass").seq, 1);
    db.close();
  });
});

test("a full outbox sheds passed parts first, then unknowns, and a failed part never", async () => {
  await withFile(async (file) => {
    const { db, outbox, journal } = open(file, { rows: 20, bytes: 1e9 });
    const fails = [];
    for (let i = 0; i < 12; i++) fails.push(commit(journal, "fail").id);
    for (let i = 0; i < 20; i++) commit(journal, "unknown");
    for (let i = 0; i < 20; i++) commit(journal, "pass");
    assert.equal(outbox.count, 20);
    assert.deepEqual(new Set(outcomes(outbox)), new Set(["fail", "unknown"]));
    for (let i = 0; i < 20; i++) fails.push(commit(journal, "fail").id);
    assert.deepEqual(
      outbox.after(0, 100).map(({ payload }) => JSON.parse(payload).id),
      fails,
    );
    db.close();
  });
});

test("rows are shed by their bytes too, and the status says where the stream goes on", async () => {
  await withFile(async (file) => {
    const { db, outbox, journal } = open(file, { rows: 1000, bytes: 20_000 });
    for (let i = 0; i < 100; i++) commit(journal, "pass");
    assert.ok(outbox.count < 40, `${outbox.count} rows`);
    const kept = JSON.parse(outbox.after(0, 1)[0]?.payload as string).seq;
    assert.ok(kept > 1);
    assert.deepEqual(outbox.starts(journal.nextSeq), [{ bootId: journal.bootId, from: kept }]);
    db.close();
  });
});

test("a database of a newer agent is refused with one clear line", async () => {
  await withFile(async (file) => {
    const { db } = open(file);
    db.pragma("user_version = 99");
    db.close();
    assert.throws(() => openDatabase(file), /layout 99.*newer agent/);
  });
});

function open(file: string, limits?: OutboxLimits): { db: Database; outbox: Outbox; journal: Journal } {
  const db = openDatabase(file);
  const outbox = new Outbox(db, log, limits ? { limits } : {});
  return { db, outbox, journal: new Journal(db, outbox) };
}

function outcomes(outbox: Outbox): string[] {
  return outbox.after(0, 1000).map(({ payload }) => JSON.parse(payload).outcome);
}

function commit(journal: Journal, outcome: Verdict["outcome"]): Verdict {
  return journal.commitVerdict(draft(outcome), frame());
}

function draft(outcome: Verdict["outcome"]): Omit<Verdict, "id" | "bootId" | "seq"> {
  const zero = "0".repeat(64);
  return {
    schemaVersion: 1,
    site: "test",
    line: "line-1",
    agent: "edge-1",
    camera: "line",
    capturedAt: new Date().toISOString(),
    frame: { sha256: zero, width: 1, height: 1 },
    outcome,
    mode: "live",
    score: 0.5,
    threshold: 0.5,
    predictionSet: ["good"],
    coverage: null,
    regions: [],
    bundle: zero,
    settings: zero,
    precision: "fp32",
    provider: "cpu",
    deadlineMs: 1000,
    deadlineMissed: false,
    ms: { decode: 0, preprocess: 0, infer: 0, decide: 0, total: 0 },
  };
}

function frame(): Frame {
  const camera = { name: "line" } as Camera;
  const triggerId = randomUUID();
  return {
    camera,
    file: "",
    triggerId,
    isAsked: true,
    unseen: "frame-unreadable",
    sha256: triggerId,
    bytes: null,
    modifiedNs: "0",
    inode: "1",
    capturedAt: new Date(),
    takenAt: performance.now(),
  };
}

async function withFile(work: (file: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-outbox-"));
  try {
    await work(join(folder, "agent.db"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
