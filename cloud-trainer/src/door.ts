/**
 * The hub's HTTP door as its stages see it: who calls, what a role may do, files sent whole or in part. Each stage brings its own
 * routes; serve/ puts the door in front.
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { Refusal } from "@kenpin/page";
import { parseAtDoor, Role } from "@kenpin/schema";
import type { Context, MiddlewareHandler } from "hono";
import type { z } from "zod";

export type Caller = { kind: "person"; name: string; role: Role } | { kind: "agent"; site: string; agent: string };
export type Door = { Variables: { caller: Caller | null } };

/** Lets people and tools pass that have at least this role. */
export function needs(role: Role): MiddlewareHandler<Door> {
  return async (c, next) => {
    const caller = c.get("caller");
    if (!caller) throw unauthorized();
    if (caller.kind === "agent") throw forbidden("an agent's token");
    if (rank(caller.role) < rank(role)) throw forbidden(`the role ${caller.role}`, role);
    await next();
  };
}

/** Lets agents pass, and people with at least this role where one is given. */
export function needsAgent(orRole?: Role): MiddlewareHandler<Door> {
  return async (c, next) => {
    const caller = c.get("caller");
    if (!caller) throw unauthorized();
    if (caller.kind === "person" && (orRole === undefined || rank(caller.role) < rank(orRole))) {
      throw forbidden("this token", "an agent's token");
    }
    await next();
  };
}

export function parseQuery<S extends z.ZodType>(schema: S, query: Record<string, string>): z.infer<S> {
  return parseAtDoor(schema, query, "the query");
}

/** Sends a file that never changes under its name, whole or the one byte range that was asked for (RFC 9110, section 14). */
export async function sendFile(c: Context<Door>, file: string, type: string): Promise<Response> {
  const { size } = await stat(file);
  const headers = { "content-type": type, "accept-ranges": "bytes", "cache-control": "private, max-age=31536000, immutable" };
  const asked = /^bytes=(\d*)-(\d*)$/.exec(c.req.header("range") ?? "");
  // Whoever asks for the head only gets no body, and then nobody would close the file.
  if (c.req.method === "HEAD") return new Response(null, { headers: { ...headers, "content-length": String(size) } });
  if (!asked || asked[0] === "bytes=-") {
    return new Response(stream(createReadStream(file)), { headers: { ...headers, "content-length": String(size) } });
  }
  const [, from = "", to = ""] = asked;
  const start = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1);
  if (start > end) return new Response(null, { status: 416, headers: { ...headers, "content-range": `bytes */${size}` } });
  return new Response(stream(createReadStream(file, { start, end })), {
    status: 206,
    headers: { ...headers, "content-length": String(end - start + 1), "content-range": `bytes ${start}-${end}/${size}` },
  });
}

function stream(source: Readable): ReadableStream<Uint8Array> {
  return Readable.toWeb(source) as unknown as ReadableStream<Uint8Array>;
}

function rank(role: Role): number {
  return Role.options.indexOf(role);
}

function unauthorized(): Refusal {
  return new Refusal(401, "token-missing", "this needs a token: send it as Authorization: Bearer …, or sign in at /login");
}

function forbidden(who: string, wanted?: string): Refusal {
  return new Refusal(403, "not-allowed", `${who} may not do this${wanted ? `; it takes ${wanted}` : ""}`);
}
