/**
 * The agent's own HTTP server: the guards in front, the routes behind, one shape for every error. Loopback unless told otherwise.
 * In: where to listen and the routes. Out: the address, also written to dataDir/page.url for `kenpin-agent page-link`.
 * Closing ends every connection, also those that wait for events. The line never waits for the page: a page that cannot listen
 * is logged, and the agent goes on without it.
 */
import { rmSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import { join } from "node:path";
import { serve } from "@hono/node-server";
import { type AgentConfig, type ErrorBody, KenpinError } from "@kenpin/schema";
import { type Context, Hono } from "hono";
import type { Logger } from "pino";
import { PageAccess } from "./page-access.ts";
import { assetRoutes } from "./page-assets.ts";
import { type Door, Refusal, signedIn } from "./page-door.ts";
import { hostGuard, identify, isLoopback, securityHeaders } from "./page-guard.ts";
import { loginRoutes } from "./page-login.ts";

export type PageOptions = {
  page: Exclude<AgentConfig["page"], false>;
  dataDir: string;
  /** Behind the sign-in. */
  routes: Hono<Door>[];
  log: Logger;
};

const STATUS: Record<string, number> = {
  "invalid-input": 400,
  "word-unknown": 422,
  "prompt-too-long": 422,
  "image-unreadable": 422,
  "signature-invalid": 422,
  "settings-foreign": 422,
  "settings-broken": 422,
  "local-settings-off": 403,
};

export function pageUrlFile(dataDir: string): string {
  return join(dataDir, "page.url");
}

export async function startPage(options: PageOptions): Promise<{ url: string; close: () => Promise<void> }> {
  const { page, dataDir, log } = options;
  const server = await listen(buildApp(options), page);
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : page.port;
  const url = `http://${page.host.includes(":") ? `[${page.host}]` : page.host}:${port}`;
  writeFileSync(pageUrlFile(dataDir), `${url}\n`);
  log.info({ url }, "page-served");
  if (!isLoopback(page.host)) log.warn({ url }, "page-without-tls-put-a-tls-proxy-in-front");
  return {
    url,
    close: () =>
      new Promise((resolve) => {
        rmSync(pageUrlFile(dataDir), { force: true });
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function buildApp({ page, dataDir, routes, log }: PageOptions): Hono<Door> {
  const access = new PageAccess(dataDir);
  const app = new Hono<Door>();
  app.use(securityHeaders(), hostGuard(page.host, page.allowHosts));
  app.get("/healthz", (c) => c.json({ ok: true }));
  app.use(identify(access));
  app.route("/", assetRoutes());
  app.route("/", loginRoutes(access));
  app.use(signedIn());
  for (const part of routes) app.route("/", part);
  app.notFound((c) => problem(c, 404, "not-found", `there is nothing at ${c.req.method} ${c.req.path.slice(0, 200)}`));
  app.onError((error, c) => {
    if (error instanceof Refusal) return problem(c, error.status, error.code, error.message);
    if (error instanceof KenpinError) return problem(c, STATUS[error.code] ?? 409, error.code, error.message);
    log.error({ method: c.req.method, route: c.req.path.slice(0, 200), why: error.message }, "request-failed");
    return problem(c, 500, "internal-error", "the agent failed at this; its log says more");
  });
  return app;
}

function problem(c: Context<Door>, status: number, code: string, message: string): Response {
  const body: ErrorBody = { code, message };
  // What is left of a refused body is not read, so this connection cannot carry another request.
  if (c.req.raw.body !== null) c.header("connection", "close");
  return c.json(body, status as 500);
}

function listen(app: Hono<Door>, { host, port }: PageOptions["page"]): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port, overrideGlobalObjects: false }) as Server;
    server.once("listening", () => resolve(server));
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "the port is taken; choose another as page.port" : error.message;
      reject(new KenpinError("page-not-served", `the page cannot listen on ${host}:${port}: ${why}`, { cause: error }));
    });
  });
}
