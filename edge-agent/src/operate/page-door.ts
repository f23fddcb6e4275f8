/** The agent's HTTP door as its routes see it: who calls, and that it takes somebody who is signed in. */
import { Refusal } from "@kenpin/page";
import type { Context, MiddlewareHandler } from "hono";

export { readJson, readLimited, Refusal } from "@kenpin/page";

/** Whoever is signed in, by the name that the audit trail shows. */
export type Caller = { name: string };
export type Door = { Variables: { caller: Caller | null } };

export function signedIn(): MiddlewareHandler<Door> {
  return async (c, next) => {
    if (!c.get("caller"))
      throw new Refusal(401, "not-signed-in", "this needs a person who is signed in: open a link of kenpin-agent page-link");
    await next();
  };
}

export function callerOf(c: Context<Door>): Caller {
  return c.get("caller") as Caller;
}
