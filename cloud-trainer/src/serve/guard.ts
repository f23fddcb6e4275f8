/**
 * What every request passes first: the Host it was sent to (DNS rebinding: a name of somebody else's that points here is
 * refused), who sends it, and, where a cookie says so, that the page which sends it is ours (cross-site request forgery).
 * Every answer carries headers that keep the page to its own origin.
 */
import { hostname, networkInterfaces } from "node:os";
import type { Context, MiddlewareHandler } from "hono";
import { getCookie } from "hono/cookie";
import { type Door, Refusal } from "../door.ts";
import type { Access } from "./access.ts";

export const SESSION_COOKIE = "kenpin_session";

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};
const READING = new Set(["GET", "HEAD"]);

export function securityHeaders(): MiddlewareHandler<Door> {
  return async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value);
    if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store");
  };
}

/** The names this hub answers to: where it is bound, this machine's own names, and what the operator allows. */
export function hostGuard(boundHost: string, allowed: readonly string[]): MiddlewareHandler<Door> {
  const loopback = ["localhost", "127.0.0.1", "[::1]"];
  const everywhere = boundHost === "0.0.0.0" || boundHost === "::";
  const own = everywhere ? [...loopback, hostname().toLowerCase(), ...interfaceAddresses()] : [];
  const names = new Set([...(loopback.includes(bracketed(boundHost)) ? loopback : own), bracketed(boundHost), ...allowed.map(bracketed)]);
  return async (c, next) => {
    const asked = (c.req.header("host") ?? "").toLowerCase().replace(/:\d+$/, "");
    if (!names.has(asked)) {
      throw new Refusal(
        421,
        "host-unknown",
        `this hub does not answer to the host "${asked.slice(0, 100)}"; start it with --allow-host for that name`,
      );
    }
    await next();
  };
}

export function identify(access: Access): MiddlewareHandler<Door> {
  return async (c, next) => {
    c.set("caller", await callerOf(c, access));
    await next();
  };
}

async function callerOf(c: Context<Door>, access: Access) {
  const authorization = c.req.header("authorization");
  if (authorization !== undefined) {
    const token = /^Bearer ([\w.~+/=-]{1,512})$/i.exec(authorization)?.[1];
    const caller = token === undefined ? null : await access.callerOf(token);
    if (!caller) throw new Refusal(401, "token-unknown", "this token is not known here, or was replaced by a newer one");
    return caller;
  }
  const session = getCookie(c, SESSION_COOKIE);
  const person = session === undefined ? null : await access.sessionOf(session);
  if (!person) return null;
  if (!READING.has(c.req.method)) sameOrigin(c);
  return { kind: "person" as const, ...person };
}

/** A browser names the page a write comes from; a page of another origin may not borrow the cookie. */
export function sameOrigin(c: Context<Door>): void {
  const origin = c.req.header("origin");
  const host = URL.canParse(origin ?? "") ? new URL(origin as string).host : null;
  if (host === null || host !== (c.req.header("host") ?? "").toLowerCase()) {
    throw new Refusal(403, "origin-foreign", "a signed-in browser may only write from this hub's own page; tools use a token");
  }
}

function interfaceAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .map(({ address }) => bracketed(address));
}

function bracketed(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host.toLowerCase()}]` : host.toLowerCase();
}
