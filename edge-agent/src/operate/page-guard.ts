/**
 * What every request passes first: the Host it was sent to (DNS rebinding: a name of somebody else's that points here is
 * refused), who sends it, and, where a cookie says so, that the page which sends it is ours (cross-site request forgery).
 * Every answer carries headers that keep the page to its own origin.
 */
import { hostname, networkInterfaces } from "node:os";
import type { Context, MiddlewareHandler } from "hono";
import { getCookie } from "hono/cookie";
import type { PageAccess } from "./page-access.ts";
import { type Door, Refusal } from "./page-door.ts";

export const SESSION_COOKIE = "kenpin_agent_session";

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};
const READING = new Set(["GET", "HEAD"]);
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

export function isLoopback(host: string): boolean {
  return LOOPBACK.includes(bracketed(host));
}

export function securityHeaders(): MiddlewareHandler<Door> {
  return async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value);
    if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store");
  };
}

/** The names this page answers to: where it is bound, this machine's own names, and what the configuration allows. */
export function hostGuard(boundHost: string, allowed: readonly string[]): MiddlewareHandler<Door> {
  const everywhere = boundHost === "0.0.0.0" || boundHost === "::";
  const own = everywhere ? [...LOOPBACK, hostname().toLowerCase(), ...interfaceAddresses()] : [];
  const names = new Set([...(isLoopback(boundHost) ? LOOPBACK : own), bracketed(boundHost), ...allowed.map(bracketed)]);
  return async (c, next) => {
    const asked = (c.req.header("host") ?? "").toLowerCase().replace(/:\d+$/, "");
    if (!names.has(asked)) {
      const message = `this page does not answer to the host "${asked.slice(0, 100)}"; name it in the configuration's page.allowHosts`;
      throw new Refusal(421, "host-unknown", message);
    }
    await next();
  };
}

export function identify(access: PageAccess): MiddlewareHandler<Door> {
  return async (c, next) => {
    c.set("caller", callerOf(c, access));
    await next();
  };
}

function callerOf(c: Context<Door>, access: PageAccess) {
  const authorization = c.req.header("authorization");
  if (authorization !== undefined) {
    const from = addressOf(c);
    refuseTooMany(access, from);
    const token = /^Bearer ([\w.~+/=-]{1,512})$/i.exec(authorization)?.[1];
    if (token !== undefined && access.holdsToken(token)) return { name: "token" };
    access.fault(from);
    throw new Refusal(401, "token-unknown", "this token is not known here; it is in page.token in the agent's data folder");
  }
  const session = getCookie(c, SESSION_COOKIE);
  const person = session === undefined ? null : access.sessionOf(session);
  if (person && !READING.has(c.req.method)) sameOrigin(c);
  return person;
}

/** A browser names the page a write comes from; a page of another origin may not borrow the cookie. */
export function sameOrigin(c: Context<Door>): void {
  const origin = c.req.header("origin");
  const host = URL.canParse(origin ?? "") ? new URL(origin as string).host : null;
  if (host === null || host !== (c.req.header("host") ?? "").toLowerCase()) {
    throw new Refusal(403, "origin-foreign", "a signed-in browser may only write from this agent's own page; tools use the token");
  }
}

export function refuseTooMany(access: PageAccess, from: string): void {
  const seconds = access.waitOf(from);
  if (seconds > 0) throw new Refusal(429, "too-many-tries", `too many wrong tokens or links; try again in ${seconds} s`);
}

/** Of the connection itself: headers that name another may be made up. */
export function addressOf(c: Context<Door>): string {
  const { incoming } = c.env as { incoming?: { socket: { remoteAddress?: string } } };
  return incoming?.socket.remoteAddress ?? "unknown";
}

function interfaceAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .map(({ address }) => bracketed(address));
}

function bracketed(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host.toLowerCase()}]` : host.toLowerCase();
}
