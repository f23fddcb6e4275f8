/** News for the pages: in order for who keeps up, and an end for who does not. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { Hono } from "hono";
import type { Door } from "../../../cloud-trainer/src/door.ts";
import { startEvents } from "../../../cloud-trainer/src/serve/events.ts";
import { makeVerdict } from "../../support/hub.ts";

function open() {
  const events = startEvents();
  const app = new Hono<Door>();
  app.use(async (c, next) => {
    c.set("caller", { kind: "person", name: "ito", role: "viewer" });
    await next();
  });
  app.route("/", events.routes);
  const say = (row: number) =>
    events.emit({
      type: "verdict",
      data: { row, verdict: makeVerdict({ bootId: randomUUID(), seq: row }), receivedAt: new Date().toISOString() },
    });
  return { events, say, listen: async () => (await app.request("/v1/events")).body as ReadableStream<Uint8Array> };
}

test("a page that keeps up gets every event in order, until the hub stops", async () => {
  const { events, say, listen } = open();
  const stream = await listen();
  for (let row = 1; row <= 100; row++) say(row);
  events.stop();
  let text = "";
  for await (const chunk of stream) text += new TextDecoder().decode(chunk);
  const rows = [...text.matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json as string).data.row);
  assert.deepEqual(
    rows,
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
});

test("a page that does not keep up is cut off instead of filling the hub's memory, and others go on", async () => {
  const { events, say, listen } = open();
  const slow = await listen();
  for (let row = 1; row <= 2000; row++) say(row);
  const late = await listen();
  say(2001);
  events.stop();
  assert.ok((await chunks(slow)) <= 513);
  assert.equal(await chunks(late), 2);
});

test("there is an end to how many pages listen at once", async () => {
  const { events, listen } = open();
  const app = [];
  for (let i = 0; i < 100; i++) app.push(await listen());
  const refused = await new Response(await listen()).text();
  assert.doesNotMatch(refused, /^retry/);
  events.stop();
});

async function chunks(stream: ReadableStream<Uint8Array>): Promise<number> {
  let count = 0;
  for await (const _chunk of stream) count++;
  return count;
}
