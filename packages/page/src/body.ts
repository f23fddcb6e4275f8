/**
 * Bodies of requests, read with a limit and parsed by a contract.
 * In: a request and what its body is called in messages. Out: the parsed value, or a Refusal.
 */
import { parseAtDoor } from "@kenpin/schema";
import type { Context } from "hono";
import type { z } from "zod";
import { Refusal } from "./refusal.ts";

/** Five hundred labels, or a part sheet with every word explained; nothing of ours comes near it. */
const JSON_LIMIT_BYTES = 1024 * 1024;

export async function readJson<S extends z.ZodType>(c: Context, schema: S, what: string): Promise<z.infer<S>> {
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
