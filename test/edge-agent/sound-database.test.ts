/** A database that a dying disk has damaged is put aside, and what can still be read of it moves over. */
import assert from "node:assert/strict";
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type Database, openDatabase, readFact, writeFact } from "../../edge-agent/src/database.ts";
import { openSoundDatabase, readQuarantine } from "../../edge-agent/src/sound-database.ts";
import { drawFrame } from "../support/test-bundle.ts";
import { openSite, runCli, until } from "./edge-site.ts";

const PAGE = 4096;

test("a whole database opens as it is, and nothing lies beside it", async () => {
  await withFile((file, folder) => {
    fill(openDatabase(file), 10).close();
    const { db, quarantine } = openSoundDatabase(file);
    assert.equal(quarantine, null);
    assert.equal(rowsOf(db), 10);
    assert.equal(readQuarantine(db, folder), null);
    db.close();
    assert.deepEqual(aside(folder), []);
  });
});

test("a file that is no database at all is put aside, and a new one is begun", async () => {
  await withFile((file, folder) => {
    writeFileSync(file, Buffer.alloc(3 * PAGE, 7));
    const { db, quarantine } = openSoundDatabase(file, () => new Date("2026-03-04T05:06:07.089Z"));
    assert.equal(quarantine?.file, "agent.db.damaged-2026-03-04T05-06-07-089Z");
    assert.match(quarantine.why, /not a database/);
    assert.equal(rowsOf(db), 0);
    assert.deepEqual(readQuarantine(db, folder), quarantine);
    assert.equal(readFileSync(join(folder, quarantine.file)).length, 3 * PAGE);
    db.close();
  });
});

test("of a database with one damaged page what lies on the others moves over: facts, and most of what waits for the hub", async () => {
  await withFile((file, folder) => {
    fill(openDatabase(file), 2000).close();
    damage(file, pageOf(file, "seq-01500"));
    const { db, quarantine } = openSoundDatabase(file);
    assert.ok(quarantine, "the damage was found");
    assert.equal(readFact(db, "bundle.newest-release"), 7);
    assert.ok(rowsOf(db) >= 1000 && rowsOf(db) < 2000, `${rowsOf(db)} of 2000 rows`);
    assert.equal(quarantine.saved["outbox"], rowsOf(db));
    assert.equal(db.prepare("SELECT count FROM outbox_size").pluck().get(), rowsOf(db));
    assert.equal(db.pragma("integrity_check", { simple: true }), "ok");
    db.close();
    const again = openSoundDatabase(file);
    assert.equal(again.quarantine, null);
    assert.equal(readQuarantine(again.db, folder)?.file, quarantine.file);
    again.db.close();
  });
});

test("a row whose text is no message any more stays behind", async () => {
  await withFile((file) => {
    const first = fill(openDatabase(file), 3);
    first.prepare("UPDATE outbox SET payload = 'half a mess' WHERE seq = 2").run();
    first.close();
    const size = readFileSync(file).length;
    damage(file, size / PAGE - 1 > 1 ? pageOf(file, "audited") : 1);
    const { db } = openSoundDatabase(file);
    assert.deepEqual(db.prepare("SELECT seq FROM outbox ORDER BY seq").pluck().all(), [1, 3]);
    db.close();
  });
});

test("damaged files do not pile up, and once a person took the last one away nobody speaks of it", async () => {
  await withFile(async (file, folder) => {
    for (let day = 1; day <= 4; day++) {
      writeFileSync(file, Buffer.alloc(2 * PAGE, 9));
      openSoundDatabase(file, () => new Date(Date.UTC(2026, 0, day))).db.close();
    }
    assert.deepEqual(
      aside(folder).filter((name) => name.endsWith("Z")),
      ["agent.db.damaged-2026-01-03T00-00-00-000Z", "agent.db.damaged-2026-01-04T00-00-00-000Z"],
    );
    for (const name of aside(folder)) await rm(join(folder, name));
    const { db } = openSoundDatabase(file);
    assert.equal(readQuarantine(db, folder), null);
    db.close();
  });
});

test("a database of a newer agent is no damage: it is refused and left where it is", async () => {
  await withFile((file, folder) => {
    const db = openDatabase(file);
    db.pragma("user_version = 99");
    db.close();
    assert.throws(() => openSoundDatabase(file), /newer agent/);
    assert.ok(existsSync(file));
    assert.deepEqual(aside(folder), []);
  });
});

test("an agent whose database was lost starts from its first bundle, inspects, and says so in log, status and on the command line", async () => {
  const site = await openSite();
  try {
    const first = await site.startAgent();
    await site.place("line", "before.jpg", await drawFrame());
    await until("a verdict", () => site.inbox.verdicts.length === 1);
    await first.stop();
    const file = join(site.config.dataDir, "agent.db");
    for (const end of ["-wal", "-shm"]) await rm(file + end, { force: true });
    writeFileSync(file, Buffer.alloc(readFileSync(file).length, 3));
    const second = await site.startAgent();
    const said = await second.logged("database-quarantined");
    await site.place("line", "after.jpg", await drawFrame());
    await until("another verdict", () => site.inbox.verdicts.length === 2);
    const health = site.inbox.statuses.findLast(({ state }) => state === "online")?.health;
    assert.equal(health?.quarantine?.file, said["file"]);
    assert.equal(health?.quarantine?.rows, 0);
    const { stdout } = await runCli(["status", "--config", site.configFile, "--json"]);
    assert.equal(JSON.parse(stdout).quarantine, said["file"]);
  } finally {
    await site.close();
  }
});

function fill(db: Database, rows: number): Database {
  writeFact(db, "bundle.newest-release", 7);
  db.prepare("INSERT INTO audit (at, who, what, detail) VALUES ('now', 'a person', 'audited', ?)").run("x".repeat(3 * PAGE));
  const insert = db.prepare(
    "INSERT INTO outbox (boot_id, seq, kind, camera, outcome, payload) VALUES ('boot', ?, 'verdict', 'line', 'fail', ?)",
  );
  db.transaction(() => {
    for (let seq = 1; seq <= rows; seq++)
      insert.run(seq, JSON.stringify({ text: `seq-${String(seq).padStart(5, "0")}`, more: "y".repeat(400) }));
  })();
  return db;
}

function rowsOf(db: Database): number {
  return db.prepare("SELECT count(*) FROM outbox").pluck().get() as number;
}

/** The number of the page on which this text stands. */
function pageOf(file: string, text: string): number {
  return Math.floor(readFileSync(file).indexOf(text) / PAGE);
}

/** As a disk does that gives other bytes than it was given. */
function damage(file: string, page: number): void {
  const handle = openSync(file, "r+");
  assert.ok(page > 0 && (page + 1) * PAGE <= fstatSync(handle).size, `page ${page}`);
  writeSync(handle, Buffer.alloc(PAGE, 0xa5), 0, PAGE, page * PAGE);
  closeSync(handle);
}

function aside(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.includes(".damaged-"))
    .sort();
}

async function withFile(work: (file: string, folder: string) => void | Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-sound-"));
  try {
    await work(join(folder, "agent.db"), folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
