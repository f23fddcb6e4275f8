/**
 * Listening, and one shape for every error. In: an app and where to listen. Out: the address people open.
 * Closing ends every connection, also those that wait for events.
 */
import type { Server } from "node:http";
import { serve } from "@hono/node-server";
import { type ErrorBody, KenpinError } from "@kenpin/schema";
import type { Context, Env, Hono } from "hono";
import { Refusal } from "./refusal.ts";

export type Listening = { url: string; close: () => Promise<void> };

type Faults = {
  /** HTTP statuses of errors that are no Refusal, by their code. */
  status: Record<string, number>;
  /** The status of any other error of ours. */
  otherwise: number;
  /** Of an error that is none of ours: what is said of it, and where it is written down. */
  unforeseen: string;
  onUnforeseen: (where: { method: string; route: string }, error: Error) => void;
};

/** Rejects with Node's own error. */
export function listen<E extends Env>(app: Hono<E>, { host, port }: { host: string; port: number }): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port, overrideGlobalObjects: false }) as Server;
    server.once("listening", () => resolve(listening(server, host, port)));
    server.once("error", reject);
  });
}

export function answerFaults<E extends Env>(app: Hono<E>, { status, otherwise, unforeseen, onUnforeseen }: Faults): void {
  app.notFound((c) => problem(c, 404, "not-found", `there is nothing at ${c.req.method} ${c.req.path.slice(0, 200)}`));
  app.onError((error, c) => {
    if (error instanceof Refusal) return problem(c, error.status, error.code, error.message);
    if (error instanceof KenpinError) return problem(c, status[error.code] ?? otherwise, error.code, error.message);
    onUnforeseen({ method: c.req.method, route: c.req.path.slice(0, 200) }, error);
    return problem(c, 500, "internal-error", unforeseen);
  });
}

function listening(server: Server, host: string, asked: number): Listening {
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : asked;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function problem(c: Context, status: number, code: string, message: string): Response {
  const body: ErrorBody = { code, message };
  // What is left of a refused body is not read, so this connection cannot carry another request.
  if (c.req.raw.body !== null) c.header("connection", "close");
  return c.json(body, status as 500);
}
