/** What is kept stays within its limits, and what goes first when the disk is full. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { Retention, type Shelf } from "../../../edge-agent/src/record/retention.ts";

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 5, 1);

test("what is older than its shelf allows goes, however little there is", async () => {
  const shelf = new Pile("pictures", { ageMs: 30 * DAY });
  for (let day = 0; day < 60; day++) shelf.add(NOW - day * DAY, 10);
  await tidy([shelf]);
  assert.equal(shelf.items.length, 31);
});

test("what is beyond its shelf's bytes goes, the oldest first", async () => {
  const shelf = new Pile("pictures", { bytes: 1000 });
  for (let i = 0; i < 500; i++) shelf.add(NOW - (500 - i) * 1000, 10);
  await tidy([shelf]);
  assert.equal(shelf.bytes(), 1000);
  assert.equal(shelf.items[0]?.at, NOW - 100_000);
});

test("a disk without room takes from the first shelf until there is room, and from the next only when the first is empty", async () => {
  const pictures = new Pile("pictures", {});
  const history = new Pile("history", {});
  for (let i = 0; i < 1000; i++) {
    pictures.add(NOW - 1000 + i, 10);
    history.add(NOW - 1000 + i, 10);
  }
  const disk = (free: number) => async () => free + 20_000 - pictures.bytes() - history.bytes();
  const first = await tidy([pictures, history], { room: disk(0), keepFreeBytes: 3000 });
  assert.deepEqual([pictures.items.length, history.items.length], [600, 1000]);
  assert.equal(first.standing.isShort, false);
  const second = await tidy([pictures, history], { room: disk(-13_000), keepFreeBytes: 3000 });
  assert.deepEqual([pictures.items.length, history.items.length], [0, 400]);
  assert.equal(second.standing.isShort, false);
});

test("where nothing is left to give, the disk is said to be short, and that it has room again is said too", async () => {
  let free = 10;
  const retention = make([new Pile("pictures", {})], { room: async () => free, keepFreeBytes: 100 });
  await retention.tidy();
  assert.deepEqual(retention.standing, { roomBytes: 10, isShort: true });
  free = 500;
  await retention.tidy();
  assert.deepEqual(retention.standing, { roomBytes: 500, isShort: false });
});

test("a shelf that cannot give leaves the others to give, and a disk that cannot be asked is not taken for a full one", async () => {
  const broken: Shelf = {
    name: "broken",
    limits: { bytes: null, ageMs: null },
    bytes: () => 0,
    give: () => {
      throw new Error("the disk is full");
    },
  };
  const pictures = new Pile("pictures", {});
  pictures.add(NOW, 10);
  await tidy([broken, pictures], { room: async () => 0, keepFreeBytes: 100 });
  assert.equal(pictures.items.length, 0);
  pictures.add(NOW, 10);
  const unknown = async () => {
    throw new Error("no such disk");
  };
  await tidy([pictures], { room: unknown, keepFreeBytes: 100 });
  assert.equal(pictures.items.length, 1);
});

class Pile implements Shelf {
  readonly name: string;
  readonly limits: Shelf["limits"];
  items: { at: number; bytes: number }[] = [];

  constructor(name: string, { bytes = null, ageMs = null }: Partial<Shelf["limits"]>) {
    this.name = name;
    this.limits = { bytes, ageMs };
  }

  add(at: number, bytes: number): void {
    this.items.push({ at, bytes });
    this.items.sort((a, b) => a.at - b.at);
  }

  bytes(): number {
    return this.items.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  give(most: number, before = Number.POSITIVE_INFINITY): number {
    const gone = this.items.filter(({ at }) => at < before).slice(0, most).length;
    this.items = this.items.slice(gone);
    return gone;
  }
}

type Parts = { now?: number; room?: () => Promise<number>; keepFreeBytes?: number };

async function tidy(shelves: Shelf[], parts: Parts = {}): Promise<Retention> {
  const retention = make(shelves, parts);
  await retention.tidy();
  return retention;
}

function make(shelves: Shelf[], { now = NOW, room = async () => 1e12, keepFreeBytes = 0 }: Parts): Retention {
  return new Retention({ shelves, room, keepFreeBytes, now: () => now, log: pino({ level: "silent" }) });
}
