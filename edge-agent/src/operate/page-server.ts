/**
 * The agent's own HTTP server: the guards in front, the routes behind, one shape for every error. Loopback unless told otherwise.
 * In: where to listen and the routes. Out: the address, also written to dataDir/page.url for `kenpin-agent page-link`.
 * Closing ends every connection, also those that wait for events. The line never waits for the page: a page that cannot listen
 * is logged, and the agent goes on without it.
 */
import { rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { answerFaults, assetRoutes, hostGuard, isLoopback, listen, securityHeaders } from "@kenpin/page";
import { type AgentConfig, KenpinError } from "@kenpin/schema";
import { Hono } from "hono";
import type { Logger } from "pino";
import { PageAccess } from "./page-access.ts";
import { type Door, signedIn } from "./page-door.ts";
import { identify } from "./page-guard.ts";
import { loginRoutes } from "./page-login.ts";

export type PageOptions = {
  page: Exclude<AgentConfig["page"], false>;
  dataDir: string;
  /** Behind the sign-in. */
  routes: Hono<Door>[];
  log: Logger;
};

const PAGE = resolve(import.meta.dirname, "../../dist-web");
const PAGE_MISSING = "the page was not built; run node edge-agent/web/build.ts, then start the agent again";
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
  const { url, close } = await listen(buildApp(options), page).catch((error: NodeJS.ErrnoException) => {
    throw notServed(error, page);
  });
  writeFileSync(pageUrlFile(dataDir), `${url}\n`);
  log.info({ url }, "page-served");
  if (!isLoopback(page.host)) log.warn({ url }, "page-without-tls-put-a-tls-proxy-in-front");
  return {
    url,
    close: () => {
      rmSync(pageUrlFile(dataDir), { force: true });
      return close();
    },
  };
}

function buildApp({ page, dataDir, routes, log }: PageOptions): Hono<Door> {
  const access = new PageAccess(dataDir);
  const app = new Hono<Door>();
  app.use(securityHeaders(), hostGuard(page.host, page.allowHosts, "name it in the configuration's page.allowHosts"));
  app.get("/healthz", (c) => c.json({ ok: true }));
  app.use(identify(access));
  app.get("/", async (c, next) => (c.get("caller") ? next() : c.redirect("/login", 303)));
  app.route("/", assetRoutes<Door>(PAGE, PAGE_MISSING));
  app.route("/", loginRoutes(access));
  app.use(signedIn());
  for (const part of routes) app.route("/", part);
  answerFaults(app, {
    status: STATUS,
    otherwise: 409,
    unforeseen: "the agent failed at this; its log says more",
    onUnforeseen: (where, error) => log.error({ ...where, why: error.message }, "request-failed"),
  });
  return app;
}

function notServed(error: NodeJS.ErrnoException, { host, port }: PageOptions["page"]): KenpinError {
  const why = error.code === "EADDRINUSE" ? "the port is taken; choose another as page.port" : error.message;
  return new KenpinError("page-not-served", `the page cannot listen on ${host}:${port}: ${why}`, { cause: error });
}
