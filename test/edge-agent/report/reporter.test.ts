/** The outbox's way to the hub over a real broker: nothing lost, nothing flooded. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connectLink, type Link } from "@kenpin/messaging";
import { type Ack, agentTopics } from "@kenpin/schema";
import { pino } from "pino";
import { type Backlog, Reporter } from "../../../edge-agent/src/report/reporter.ts";
import { startBroker, until } from "../edge-site.ts";

const TOPICS = agentTopics("test", "edge-1");

test("a hub that does not acknowledge gets a window of rows, and the same ones again, not all of a long backlog", async () => {
  await onBroker(async ({ link, hub, arrived }) => {
    const rows = new Rows(5000);
    const reporter = makeReporter(link, rows);
    await until("the window", () => new Set(arrived).size === 512);
    await until("the window again", () => arrived.length >= 1024);
    assert.deepEqual(
      [...new Set(arrived)], // by their first arrival: patience may end before a busy broker has taken them all
      Array.from({ length: 512 }, (_, i) => i + 1),
    );
    acknowledgeAll(hub, arrived);
    await until("everything", () => rows.count === 0);
    assert.equal(new Set(arrived).size, 5000);
    reporter.stop();
  });
});

test("rows that went out when the broker died are published again to the next one", async () => {
  await onBroker(async ({ link, hub, broker, arrived }) => {
    const rows = new Rows(100);
    const reporter = makeReporter(link, rows, 60_000);
    await until("the rows", () => arrived.length === 100);
    await broker.stop();
    await broker.start();
    acknowledgeAll(hub, arrived);
    await until("an empty outbox", () => rows.count === 0);
    reporter.stop();
  });
});

test("what is decided now goes out beside a backlog of days, not after it, and all of it arrives", async () => {
  await onBroker(async ({ link, hub, arrived }) => {
    const rows = new Rows(5000);
    const reporter = makeReporter(link, rows);
    await until("some of the backlog", () => arrived.length >= 100);
    acknowledgeAll(hub, arrived, 5040);
    const behind: number[] = [];
    for (let id = 5001; id <= 5040; id++) {
      const before = new Set(arrived).size;
      rows.add(id);
      reporter.wake();
      await until(`row ${id}`, () => arrived.includes(id));
      behind.push(new Set(arrived).size - before);
      if (before < 4000) await sleep(20);
    }
    // Before it goes what is with the broker already, a window at most; of the thousands that wait, nothing.
    assert.ok(Math.max(...behind) < 600, `${Math.max(...behind)} others went before one of them`);
    await until("everything", () => rows.count === 0);
    assert.equal(new Set(arrived).size, 5040);
    assert.ok(arrived.length < 5040 + 600, `${arrived.length} publications of 5040 rows`);
    reporter.stop();
  });
});

test("rows that went out beside the backlog and were lost with the broker are sent again", async () => {
  await onBroker(async ({ link, hub, broker, arrived }) => {
    const rows = new Rows(2000);
    const reporter = makeReporter(link, rows, 2000); // the hub may come back after the agent, and what was sent before it is lost once more
    await until("some of the backlog", () => arrived.length >= 100);
    for (let id = 2001; id <= 2020; id++) rows.add(id);
    reporter.wake();
    await until("the new ones", () => arrived.includes(2020));
    const lost = arrived.splice(0); // as if the broker had died before it delivered any of them
    await broker.stop();
    await broker.start();
    acknowledgeAll(hub, arrived, 2020);
    await until("an empty outbox", () => rows.count === 0);
    assert.ok(lost.includes(2020));
    assert.equal(new Set(arrived).size, 2020);
    reporter.stop();
  });
});

test("a malformed acknowledgement frees nothing and breaks nothing", async () => {
  await onBroker(async ({ link, hub, arrived }) => {
    const rows = new Rows(3);
    const reporter = makeReporter(link, rows, 60_000);
    await until("the rows", () => arrived.length === 3);
    await hub.publish(TOPICS.ack, { schemaVersion: 1, boots: "all of them" });
    await hub.publish(TOPICS.ack, null);
    await sleep(300);
    assert.equal(rows.count, 3);
    acknowledgeAll(hub, arrived);
    await until("an empty outbox", () => rows.count === 0);
    reporter.stop();
  });
});

const BOOT = "01890000-0000-7000-8000-000000000000";

/** A backlog in memory; the one on disk is tested beside it. */
class Rows implements Backlog {
  #ids: number[];

  constructor(count: number) {
    this.#ids = Array.from({ length: count }, (_, i) => i + 1);
  }

  get count(): number {
    return this.#ids.length;
  }

  after(id: number, limit: number) {
    const rows = this.#ids.filter((one) => one > id).slice(0, limit);
    return rows.map((one) => ({ id: one, kind: "verdict" as const, camera: "line", payload: JSON.stringify({ seq: one }) }));
  }

  newest(): number {
    return this.#ids.at(-1) ?? 0;
  }

  add(id: number): void {
    this.#ids.push(id);
  }

  waitingUpTo(id: number): number {
    return this.#ids.filter((one) => one <= id).length;
  }

  acknowledge({ boots }: Ack): number {
    const before = this.#ids.length;
    this.#ids = this.#ids.filter((id) => !boots.some(({ seq }) => id <= seq));
    return before - this.#ids.length;
  }
}

function makeReporter(link: Link, backlog: Backlog, firstRetryMs = 200): Reporter {
  const silent = () => undefined;
  return new Reporter({ link, topics: TOPICS, backlog, onChange: silent, onAck: silent, log: pino({ level: "silent" }), firstRetryMs });
}

/** From now on the hub acknowledges the contiguous front, ten times a second. */
function acknowledgeAll(hub: Link, arrived: number[], last = 5000): void {
  const timer = setInterval(() => {
    const seen = new Set(arrived);
    let seq = 0;
    while (seen.has(seq + 1)) seq++;
    void hub.publish(TOPICS.ack, { schemaVersion: 1, boots: [{ bootId: BOOT, seq }] }, { retain: true }).catch(() => undefined);
    if (seq >= last) clearInterval(timer);
  }, 100);
  timer.unref();
}

type Parts = { link: Link; hub: Link; broker: Awaited<ReturnType<typeof startBroker>>; arrived: number[] };

async function onBroker(work: (parts: Parts) => Promise<void>): Promise<void> {
  const broker = await startBroker();
  const hub = connectLink({ url: broker.url, clientId: "hub" });
  const arrived: number[] = [];
  hub.subscribe(TOPICS.verdict("+"), (_topic, payload) => arrived.push((payload as { seq: number }).seq));
  await until("the hub's connection", () => hub.connected);
  const link = connectLink({ url: broker.url, clientId: "agent" });
  try {
    await work({ link, hub, broker, arrived });
  } finally {
    await link.close();
    await hub.close();
    await broker.stop();
  }
}
