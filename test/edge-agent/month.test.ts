/** A month of an agent that nobody looks after, with a fast clock: 72 frames a day. The full size is test/bench/agent-month.ts. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { liveThroughMonth, type MonthFigures } from "../support/agent-month.ts";

const DAYS = 30;
const LAMP_DIMS_ON = 24;
let folder: string;
let month: MonthFigures;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kenpin-month-"));
  const everyMs = 20 * 60_000;
  month = await liveThroughMonth({ folder, days: DAYS, everyMs, hubAway: [10, 11, 12, 13, 14], clockLostOn: 6, lampDimsOn: LAMP_DIMS_ON });
});

after(() => rm(folder, { recursive: true, force: true }));

test("every frame of the month has its verdict at the hub, each boot's stream whole and in order, through five days without a hub", () => {
  assert.equal(month.frames, DAYS * 72);
  assert.equal(month.verdicts, month.frames);
  assert.equal(month.boots.size, DAYS);
  for (const [boot, seqs] of month.boots) {
    assert.deepEqual(
      seqs,
      seqs.map((_, i) => i + 1),
      boot,
    );
  }
  assert.ok(month.mostBacklog >= 5 * 72, `${month.mostBacklog} rows waited at most`);
  assert.equal(month.backlogAtEnd, 0);
});

test("what lies on the disk stays within its days and its bytes", () => {
  assert.ok(month.oldestHistoryDays > 6 && month.oldestHistoryDays < 7.1, `${month.oldestHistoryDays} days`);
  assert.ok(month.mostDatabaseBytes < 12 * 1024 ** 2, `${month.mostDatabaseBytes} bytes`);
  // Four days of two pictures a sample, since those of three days are kept while the hub is away.
  assert.ok(month.mostPictureBytes < 4 * 40 * 2 * 8192, `${month.mostPictureBytes} bytes`);
  assert.equal(month.picturesLeft, 0);
});

test("no more samples are drawn in a day than are allowed, on the day without a clock either", () => {
  assert.ok((month.samples["random"] ?? 0) > 200, JSON.stringify(month.samples));
  assert.ok(month.mostSamplesADay <= 5 * 40 + 40, `${month.mostSamplesADay}`); // those of the days without a hub arrive with the next
});

test("a lamp that dims on day 24 is found within two days of 72 frames, nothing is said to drift before, and a few samples show it", () => {
  const before = month.drift.filter(({ day }) => day < LAMP_DIMS_ON);
  assert.deepEqual(
    [...new Set(before.map(({ state }) => state))],
    ["steady"],
    JSON.stringify(before.filter(({ state }) => state !== "steady")),
  );
  const found = month.drift.find(({ state }) => state === "drifting");
  assert.ok(found && found.day <= LAMP_DIMS_ON + 2, JSON.stringify(found));
  assert.ok(found.moved.includes("brightness"), found.moved.join(", "));
  const samples = month.samples["drifting"] ?? 0;
  assert.ok(samples >= 5 && samples <= 20, `${samples}`);
});

test("the reference of the first days is the one that counts to the end, through thirty starts", () => {
  assert.equal(new Set(month.drift.map(({ referenceAt }) => referenceAt)).size, 1);
});
