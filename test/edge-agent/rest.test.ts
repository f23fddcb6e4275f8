/** A loop's rest: what ends it, and what a year of turns leaves behind. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Rest } from "../../edge-agent/src/rest.ts";

const LONG_MS = 60_000;

test("news ends a rest that waits for news, also news that came just before it, and is news once", async () => {
  const rest = new Rest();
  const resting = rest.forNews(LONG_MS);
  rest.wake();
  await resting;
  rest.wake();
  await rest.forNews(LONG_MS);
  assert.equal(await isOver(rest.forNews(LONG_MS)), false);
  rest.end();
});

test("after a failure only time ends a rest, and what was news meanwhile is news afterwards", async () => {
  const rest = new Rest();
  const resting = rest.forTime(LONG_MS);
  rest.wake();
  assert.equal(await isOver(resting), false);
  rest.end();
  await resting;
});

test("a loop that was ended rests no more", async () => {
  const rest = new Rest();
  const resting = rest.forNews(LONG_MS);
  rest.end();
  await Promise.all([resting, rest.forNews(LONG_MS), rest.forTime(LONG_MS)]);
});

test("a hundred thousand turns leave nothing behind", async () => {
  const rest = new Rest();
  const turns = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const resting = rest.forNews(LONG_MS);
      rest.wake();
      await resting;
    }
    return timers();
  };
  assert.equal(await turns(100_000), await turns(1));
});

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
}

async function isOver(resting: Promise<void>): Promise<boolean> {
  return Promise.race([resting.then(() => true), sleep(30, false)]);
}
