/** Who sends a request: a person or an agent by a token, or a person by the session of the page. */
import { bearerToken, Refusal, signedInBy } from "@kenpin/page";
import type { Context, MiddlewareHandler } from "hono";
import type { Caller, Door } from "../door.ts";
import type { Access } from "./access.ts";

export const SESSION_COOKIE = "kenpin_session";

export function identify(access: Access): MiddlewareHandler<Door> {
  return async (c, next) => {
    c.set("caller", await callerOf(c, access));
    await next();
  };
}

async function callerOf(c: Context<Door>, access: Access): Promise<Caller | null> {
  const token = bearerToken(c);
  if (token === undefined) {
    const person = await signedInBy(c, SESSION_COOKIE, access.sessionOf);
    return person && { kind: "person", ...person };
  }
  const caller = token === null ? null : await access.callerOf(token);
  if (!caller) throw new Refusal(401, "token-unknown", "this token is not known here, or was replaced by a newer one");
  return caller;
}
