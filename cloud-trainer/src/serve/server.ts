/**
 * The HTTP server: the guards in front, the stages' routes behind, one shape for every error. In: routes and where to
 * listen. Out: the address people open. Closing ends every connection, also those that wait for events.
 */
import type { Server } from "node:http";
import { serve } from "@hono/node-server";
import { type ErrorBody, KenpinError } from "@kenpin/schema";
import { type Context, Hono } from "hono";
import type { Logger } from "pino";
import { type Door, Refusal } from "../door.ts";
import type { Access } from "./access.ts";
import { hostGuard, identify, securityHeaders } from "./guard.ts";

export type ServerOptions = {
  host: string;
  port: number;
  allowHosts: readonly string[];
  access: Access;
  routes: Hono<Door>[];
  log: Logger;
};

const STATUS: Record<string, number> = {
  "invalid-input": 400,
  "word-unknown": 400,
  "not-allowed": 403,
  "broker-away": 503,
  "trainer-failed": 500,
};

export async function startServer(options: ServerOptions): Promise<{ url: string; close: () => Promise<void> }> {
  const app = buildApp(options);
  const server = await listen(app, options);
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : options.port;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function buildApp({ host, allowHosts, access, routes, log }: ServerOptions): Hono<Door> {
  const app = new Hono<Door>();
  app.use(securityHeaders(), hostGuard(host, allowHosts));
  app.get("/healthz", (c) => c.json({ ok: true }));
  app.use(identify(access));
  for (const part of routes) app.route("/", part);
  app.notFound((c) => problem(c, 404, "not-found", `there is nothing at ${c.req.method} ${c.req.path.slice(0, 200)}`));
  app.onError((error, c) => {
    if (error instanceof Refusal) return problem(c, error.status, error.code, error.message);
    if (error instanceof KenpinError) return problem(c, STATUS[error.code] ?? 500, error.code, error.message);
    log.error({ method: c.req.method, route: c.req.path.slice(0, 200), error: error.message }, "request-failed");
    return problem(c, 500, "internal-error", "the hub failed at this; its log says more");
  });
  return app;
}

function problem(c: Context<Door>, status: number, code: string, message: string): Response {
  const body: ErrorBody = { code, message };
  // What is left of a refused body is not read, so this connection cannot carry another request.
  if (c.req.raw.body !== null) c.header("connection", "close");
  return c.json(body, status as 500);
}

function listen(app: Hono<Door>, { host, port }: ServerOptions): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port, overrideGlobalObjects: false }) as Server;
    server.once("listening", () => resolve(server));
    server.once("error", (error: NodeJS.ErrnoException) => reject(cannotListen(error, host, port)));
  });
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): KenpinError {
  if (error.code === "EADDRINUSE") {
    return new KenpinError("port-taken", `port ${port} of ${host} is taken; stop what uses it or choose another with --port`);
  }
  if (error.code === "EADDRNOTAVAIL") return new KenpinError("host-unknown", `this machine has no address ${host}; choose one with --host`);
  return new KenpinError("cannot-listen", `the hub cannot listen on ${host}:${port}: ${error.message}`, { cause: error });
}
