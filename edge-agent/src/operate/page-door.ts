/**
 * The agent's HTTP door as its routes see it: who calls, bodies read with a limit and parsed by a contract, refusals that carry
 * their HTTP status. In: requests that page-guard.ts let through. Out: parsed values, or a Refusal.
 */
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import type { Context, MiddlewareHandler } from "hono";
import type { z } from "zod";

/** Whoever is signed in, by the name that the audit trail shows. */
export type Caller = { name: string };
export type Door = { Variables: { caller: Caller | null } };

/** A request the page will not serve; the status is HTTP's, the code is ours. */
export class Refusal extends KenpinError {
  readonly status: number;

  constructor(status: number, code: string, message: string) {
    super(code, message);
    this.status = status;
  }
}

/** A part sheet with every word explained has some ten kilobytes. */
const JSON_LIMIT_BYTES = 256 * 1024;

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

export async function readJson<S extends z.ZodType>(c: Context<Door>, schema: S, what: string): Promise<z.infer<S>> {
  const type = c.req.header("content-type") ?? "";
  // Forms of other sites can send text/plain but not this without asking first.
  if (!/^application\/json\b/i.test(type)) {
    throw new Refusal(415, "json-expected", `${what} is taken as application/json, not as "${type.slice(0, 60)}"`);
  }
  const text = new TextDecoder().decode(await readLimited(c.req.raw.body, JSON_LIMIT_BYTES, what));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refusal(400, "json-malformed", `${what} is not valid JSON`);
  }
  return parseAtDoor(schema, value, what);
}

export async function readLimited(body: ReadableStream<Uint8Array> | null, limitBytes: number, what: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.length;
    if (size > limitBytes) throw new Refusal(413, "body-too-large", `${what} has more than ${limitBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
