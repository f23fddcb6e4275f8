/** News for the pages: in order for who keeps up, and an end for who does not. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { startEvents } from "@kenpin/page";
import type { HubEvent } from "@kenpin/schema";
import { type Env, Hono } from "hono";
import { makeVerdict } from "../support/hub.ts";

function open({ signedIn = true } = {}) {
  const events = startEvents<Env, HubEvent>({
    guard: async (c, next) => (signedIn ? next() : c.text("", 401)),
    pages: 100,
    queuedEvents: 512,
  });
  const app = new Hono();
  app.route("/", events.routes);
  const say = (row: number) =>
    events.emit({
      type: "verdict",
      data: { row, verdict: makeVerdict({ bootId: randomUUID(), seq: row }), receivedAt: new Date().toISOString() },
    });
  const ask = async (method = "GET") => app.request("/v1/events", { method });
  return { events, say, ask, listen: async () => (await ask()).body as ReadableStream<Uint8Array> };
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

test("a page that does not keep up is cut off instead of filling memory, and others go on", async () => {
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

test("who may not listen takes nobody's place, and neither does who asks for the head alone", async () => {
  const stranger = open({ signedIn: false });
  for (let i = 0; i < 100; i++) assert.equal((await stranger.ask()).status, 401);
  stranger.events.stop();
  const { events, ask, listen } = open();
  for (let i = 0; i < 100; i++) assert.equal((await ask("HEAD")).headers.get("content-type"), "text/event-stream");
  const stream = await listen();
  events.stop();
  assert.match(await new Response(stream).text(), /^retry/);
});

async function chunks(stream: ReadableStream<Uint8Array>): Promise<number> {
  let count = 0;
  for await (const _chunk of stream) count++;
  return count;
}
