/**
 * News for the pages as server-sent events (HTML standard, section 9.2). Each page has a bounded queue: one that does not keep up is
 * cut off, and its browser comes back by itself and reads the state anew. A heartbeat keeps proxies patient.
 * In: who may listen, how many pages at once, how many events each may lag behind. Out: the route, and what sends an event to all.
 */
import { type Env, Hono, type MiddlewareHandler } from "hono";
import { Refusal } from "./refusal.ts";

const HEARTBEAT_MS = 15_000;
const BROWSER_RETRY_MS = 2000;
const HEADERS = { "content-type": "text/event-stream", "cache-control": "no-store" };

type Client = ReadableStreamDefaultController<Uint8Array>;
type Options<E extends Env> = { guard: MiddlewareHandler<E>; pages: number; queuedEvents: number };

export function startEvents<E extends Env, News>({ guard, pages, queuedEvents }: Options<E>) {
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
      new CountQueuingStrategy({ highWaterMark: queuedEvents }),
    );
  };

  const routes = new Hono<E>();
  routes.get("/v1/events", guard, (c) => {
    if (c.req.method === "HEAD") return new Response(null, { headers: HEADERS }); // nobody would close its stream
    if (clients.size >= pages) throw new Refusal(503, "too-many-pages", `${pages} pages are open already; close one`);
    return new Response(open(), { headers: HEADERS });
  });

  return {
    routes,
    emit: (event: News) => {
      if (clients.size > 0) send(`data: ${JSON.stringify(event)}\n\n`);
    },
    stop: () => {
      clearInterval(heartbeat);
      for (const client of [...clients]) drop(client);
    },
  };
}
