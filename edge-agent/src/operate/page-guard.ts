/** Who sends a request to the page, by its token or by a session; and an end to trying many of them. */
import { bearerToken, Refusal, signedInBy } from "@kenpin/page";
import type { Context, MiddlewareHandler } from "hono";
import type { PageAccess } from "./page-access.ts";
import type { Caller, Door } from "./page-door.ts";

export const SESSION_COOKIE = "kenpin_agent_session";

export function identify(access: PageAccess): MiddlewareHandler<Door> {
  return async (c, next) => {
    c.set("caller", await callerOf(c, access));
    await next();
  };
}

async function callerOf(c: Context<Door>, access: PageAccess): Promise<Caller | null> {
  const token = bearerToken(c);
  if (token === undefined) return signedInBy(c, SESSION_COOKIE, (session) => access.sessionOf(session));
  const from = addressOf(c);
  refuseTooMany(access, from);
  if (token !== null && access.holdsToken(token)) return { name: "token" };
  access.fault(from);
  throw new Refusal(401, "token-unknown", "this token is not known here; it is in page.token in the agent's data folder");
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
