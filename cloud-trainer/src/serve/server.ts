/**
 * The HTTP server: the guards in front, the stages' routes behind, one shape for every error. In: routes and where to
 * listen. Out: the address people open. Closing ends every connection, also those that wait for events.
 */
import { answerFaults, hostGuard, listen, securityHeaders } from "@kenpin/page";
import { KenpinError } from "@kenpin/schema";
import { Hono } from "hono";
import type { Logger } from "pino";
import type { Door } from "../door.ts";
import type { Access } from "./access.ts";
import { identify } from "./guard.ts";

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
  return listen(buildApp(options), options).catch((error: NodeJS.ErrnoException) => {
    throw cannotListen(error, options.host, options.port);
  });
}

function buildApp({ host, allowHosts, access, routes, log }: ServerOptions): Hono<Door> {
  const app = new Hono<Door>();
  app.use(securityHeaders(), hostGuard(host, allowHosts, "start the hub with --allow-host for that name"));
  app.get("/healthz", (c) => c.json({ ok: true }));
  app.use(identify(access));
  for (const part of routes) app.route("/", part);
  answerFaults(app, {
    status: STATUS,
    otherwise: 500,
    unforeseen: "the hub failed at this; its log says more",
    onUnforeseen: (where, error) => log.error({ ...where, error: error.message }, "request-failed"),
  });
  return app;
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): KenpinError {
  if (error.code === "EADDRINUSE") {
    return new KenpinError("port-taken", `port ${port} of ${host} is taken; stop what uses it or choose another with --port`);
  }
  if (error.code === "EADDRNOTAVAIL") return new KenpinError("host-unknown", `this machine has no address ${host}; choose one with --host`);
  return new KenpinError("cannot-listen", `the hub cannot listen on ${host}:${port}: ${error.message}`, { cause: error });
}
