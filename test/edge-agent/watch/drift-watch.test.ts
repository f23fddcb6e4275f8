/** When a camera is said to drift, and how seldom where nothing changed. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openDatabase } from "../../../edge-agent/src/database.ts";
import { keptReference } from "../../../edge-agent/src/watch/drift-reference-store.ts";
import { EVERY_MS, REFERENCE_FRAMES, WINDOW_FRAMES } from "../../../edge-agent/src/watch/drift-watch.ts";
import { Line } from "../../support/drifting-line.ts";

test("a lamp that dims by a tenth, sharper words or another score are found within two windows: 100 frames that count, three minutes", () => {
  const changes: Record<string, Partial<Record<string, number>>> = {
    "a lamp that dims by a tenth": { brightness: -12, contrast: -0.1 },
    "parts that the words like less": { words: 1.2, score: 1.2 },
    "parts further from what was taught": { references: 1.5, strangeness: 0.3 },
    "a lens that lost focus": { sharpness: -0.35 },
  };
  for (const [what, change] of Object.entries(changes)) {
    const line = new Line(11);
    line.run(REFERENCE_FRAMES + 4 * WINDOW_FRAMES);
    assert.equal(line.watch.state, "steady", what);
    const readings = line.run(2 * WINDOW_FRAMES, change);
    assert.equal(line.watch.state, "drifting", `${what}: ${readings.map(({ test }) => test?.p).join(", ")}`);
    assert.ok(Object.keys(change).includes(readings.at(-1)?.figures[0]?.name ?? ""), `${what}: ${readings.at(-1)?.figures[0]?.name}`);
  }
});

test("of 12 runs of 50 windows without a change none alarms: a window's level is 1 in 6,400, so that a shift's is 1 in 20", () => {
  // One in 128 runs may; test/bench/drift.ts counts whole shifts.
  let alarms = 0;
  for (let seed = 0; seed < 12; seed++) {
    const line = new Line(100 + seed);
    line.run(REFERENCE_FRAMES);
    if (line.run(50 * WINDOW_FRAMES).some(({ state }) => state === "drifting")) alarms++;
  }
  assert.equal(alarms, 0);
});

test("an alarm ends once two windows in a row are as the reference again", () => {
  const line = new Line(12);
  line.run(REFERENCE_FRAMES + WINDOW_FRAMES);
  line.run(2 * WINDOW_FRAMES, { brightness: -20 });
  assert.equal(line.watch.state, "drifting");
  line.run(WINDOW_FRAMES);
  assert.equal(line.watch.state, "drifting");
  line.run(5 * WINDOW_FRAMES);
  assert.equal(line.watch.state, "steady");
});

test("another set of settings, or a person who says that it is as it should be, begins a new reference", () => {
  const line = new Line(13);
  line.run(REFERENCE_FRAMES);
  line.settings = "other settings";
  assert.equal(line.run(REFERENCE_FRAMES - 1, { brightness: 40 }).length, 0);
  assert.equal(line.watch.state, "gathering");
  line.run(1 + 3 * WINDOW_FRAMES, { brightness: 40 });
  assert.equal(line.watch.state, "steady");
  line.watch.forget();
  assert.equal(line.watch.state, "gathering");
  assert.equal(line.kept, null);
});

test("of a fast line's frames one a second counts, five times, and then none for five seconds, so that their likeness is no drift", () => {
  const line = new Line(14);
  // Forty blocks, each nine seconds after the last one, four seconds long.
  for (let i = 0; i < 39 * 90 + 40; i++) line.frame({}, EVERY_MS / 10);
  assert.equal(line.watch.state, "gathering");
  line.frame({}, EVERY_MS / 10);
  assert.equal(line.watch.state, "steady");
});

test("in an alarm twenty frames are offered to learn from, spread over it, and none without one", () => {
  const line = new Line(15);
  line.run(REFERENCE_FRAMES + WINDOW_FRAMES);
  assert.equal(line.watch.takeOffer(), false);
  line.run(WINDOW_FRAMES, { brightness: -20 });
  const offered: number[] = [];
  for (let i = 0; i < 400; i++) {
    line.frame({ brightness: -20 }, EVERY_MS);
    if (line.watch.takeOffer()) offered.push(i);
  }
  assert.equal(offered.length, 20);
  assert.ok((offered.at(-1) as number) >= 180, `the last one was ${offered.at(-1)}`);
});

test("a camera without a memory bank is watched by what it has", () => {
  const line = new Line(16);
  line.isTaught = false;
  line.run(REFERENCE_FRAMES + WINDOW_FRAMES);
  const readings = line.run(2 * WINDOW_FRAMES, { brightness: -20 });
  assert.equal(line.watch.state, "drifting");
  assert.deepEqual(
    readings[0]?.figures.map(({ name }) => name).filter((name) => name === "references" || name === "strangeness"),
    [],
  );
});

test("a reference is kept over a restart, so that what changed meanwhile is found", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-drift-"));
  try {
    const db = openDatabase(join(folder, "agent.db"));
    const before = new Line(17, keptReference(db, "line"));
    before.run(REFERENCE_FRAMES);
    db.close();
    const again = openDatabase(join(folder, "agent.db"));
    const after = new Line(18, keptReference(again, "line"));
    assert.equal(after.watch.state, "steady");
    after.run(2 * WINDOW_FRAMES, { brightness: -20 });
    assert.equal(after.watch.state, "drifting");
    assert.equal(keptReference(again, "another").read(), null);
    again.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("a reference that a slow line has begun goes on after a restart", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-drift-"));
  try {
    const db = openDatabase(join(folder, "agent.db"));
    const before = new Line(19, keptReference(db, "line"));
    before.run(150);
    const after = new Line(20, keptReference(db, "line"));
    after.run(REFERENCE_FRAMES - 140 - 1); // the last ten were not kept yet
    assert.equal(after.watch.state, "gathering");
    after.run(1);
    assert.equal(after.watch.state, "steady");
    db.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
