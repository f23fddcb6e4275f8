/**
 * What every request passes first: the Host it was sent to (DNS rebinding: a name of somebody else's that points here is
 * refused) and, where a cookie says who sends it, that the page which sends it is ours (cross-site request forgery).
 * Every answer carries headers that keep the page to its own origin.
 */
import { hostname, networkInterfaces } from "node:os";
import type { Context, MiddlewareHandler } from "hono";
import { Refusal } from "./refusal.ts";

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

export function isLoopback(host: string): boolean {
  return LOOPBACK.includes(bracketed(host));
}

export function securityHeaders(): MiddlewareHandler {
  return async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value);
    if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store");
  };
}

/** The names a server answers to: where it is bound, this machine's own names, and what its operator allows, by which `advice` is about. */
export function hostGuard(boundHost: string, allowed: readonly string[], advice: string): MiddlewareHandler {
  const everywhere = boundHost === "0.0.0.0" || boundHost === "::";
  const own = everywhere ? [...LOOPBACK, hostname().toLowerCase(), ...interfaceAddresses()] : [];
  const names = new Set([...(isLoopback(boundHost) ? LOOPBACK : own), bracketed(boundHost), ...allowed.map(bracketed)]);
  return async (c, next) => {
    const asked = (c.req.header("host") ?? "").toLowerCase().replace(/:\d+$/, "");
    if (!names.has(asked)) {
      throw new Refusal(421, "host-unknown", `this server does not answer to the host "${asked.slice(0, 100)}"; ${advice}`);
    }
    await next();
  };
}

/** A browser names the page a write comes from; a page of another origin may not borrow the cookie. */
export function sameOrigin(c: Context): void {
  const origin = c.req.header("origin");
  const host = URL.canParse(origin ?? "") ? new URL(origin as string).host : null;
  if (host === null || host !== (c.req.header("host") ?? "").toLowerCase()) {
    throw new Refusal(403, "origin-foreign", "a signed-in browser may only write from this server's own page; tools use a token");
  }
}

/** undefined where a request names none, null where what it names cannot be one. */
export function bearerToken(c: Context): string | null | undefined {
  const named = c.req.header("authorization");
  return named === undefined ? undefined : (/^Bearer ([\w.~+/=-]{1,512})$/i.exec(named)?.[1] ?? null);
}

function interfaceAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .map(({ address }) => bracketed(address));
}

function bracketed(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host.toLowerCase()}]` : host.toLowerCase();
}
