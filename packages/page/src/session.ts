/**
 * Being signed in: a session whose secret lies in a cookie that scripts cannot read and that other sites cannot send. It comes from a
 * one-time link or from a token in the sign-in form; tools go on using their token.
 */
import type { Context } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { readLimited } from "./body.ts";
import { sameOrigin } from "./guard.ts";

export const LINK_LIFE_MS = 5 * 60_000;
export const SESSION_LIFE_MS = 12 * 3_600_000;
/** Of the name that a person gives in the form. */
export const NAME_LIMIT = 64;
const FORM_LIMIT_BYTES = 4096;
const READING = new Set(["GET", "HEAD"]);

/** Whoever the cookie's session belongs to, or null. */
export async function signedInBy<Person>(
  c: Context,
  cookie: string,
  sessionOf: (session: string) => Person | null | Promise<Person | null>,
): Promise<Person | null> {
  const session = getCookie(c, cookie);
  const person = session === undefined ? null : await sessionOf(session);
  if (person && !READING.has(c.req.method)) sameOrigin(c);
  return person;
}

/** What was typed into the form of login-page.ts. */
export async function readLoginForm(c: Context): Promise<{ token: string; name: string }> {
  sameOrigin(c); // else another site could sign somebody in under its own name
  const form = new URLSearchParams(new TextDecoder().decode(await readLimited(c.req.raw.body, FORM_LIMIT_BYTES, "the form")));
  return { token: (form.get("token") ?? "").trim(), name: (form.get("name") ?? "").trim().slice(0, NAME_LIMIT) };
}

export function enter(c: Context, cookie: string, session: string): Response {
  setCookie(c, cookie, session, { httpOnly: true, sameSite: "Strict", path: "/", maxAge: SESSION_LIFE_MS / 1000 });
  return c.redirect("/", 303);
}

/** Forgets the cookie; out: its session, for the caller to end. */
export function leave(c: Context, cookie: string): string {
  sameOrigin(c);
  const session = getCookie(c, cookie) ?? "";
  deleteCookie(c, cookie);
  return session;
}
