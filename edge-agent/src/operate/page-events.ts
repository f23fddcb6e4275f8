/**
 * News for the page as server-sent events (HTML standard, section 9.2). Each page has a bounded queue: one that does not keep up is
 * cut off, and its browser comes back by itself and reads the state anew. A heartbeat keeps proxies patient.
 */
import type { PageEvent } from "@kenpin/schema";
import { Hono } from "hono";
import { type Door, Refusal } from "./page-door.ts";

const HEARTBEAT_MS = 15_000;
const QUEUED_EVENTS = 256;
const PAGES = 20;
const BROWSER_RETRY_MS = 2000;

type Client = ReadableStreamDefaultController<Uint8Array>;

export function startPageEvents() {
  const clients = new Set<Client>();
  const encoder = new TextEncoder();

  const drop = (client: Client) => {
    if (!clients.delete(client)) return;
    try {
      client.close();
    } catch {
      // the browser closed it first
    }
  };
  const send = (text: string) => {
    const bytes = encoder.encode(text);
    for (const client of clients) {
      if ((client.desiredSize ?? 0) <= 0) drop(client);
      else client.enqueue(bytes);
    }
  };
  const heartbeat = setInterval(() => send(": still here\n\n"), HEARTBEAT_MS);

  const open = (): ReadableStream<Uint8Array> => {
    let mine: Client;
    return new ReadableStream<Uint8Array>(
      {
        start(client) {
          mine = client;
          clients.add(client);
          client.enqueue(encoder.encode(`retry: ${BROWSER_RETRY_MS}\n\n`));
        },
        cancel() {
          clients.delete(mine);
        },
      },
      new CountQueuingStrategy({ highWaterMark: QUEUED_EVENTS }),
    );
  };

  const routes = new Hono<Door>();
  routes.get("/v1/events", () => {
    if (clients.size >= PAGES) throw new Refusal(503, "too-many-pages", `${PAGES} pages are open already; close one`);
    return new Response(open(), { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } });
  });

  return {
    routes,
    emit: (event: PageEvent) => {
      if (clients.size > 0) send(`data: ${JSON.stringify(event)}\n\n`);
    },
    stop: () => {
      clearInterval(heartbeat);
      for (const client of [...clients]) drop(client);
    },
  };
}
