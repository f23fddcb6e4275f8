/**
 * Where a message's picture is: the bytes themselves, a file's path, or an address to fetch it from. Out: bytes, at most 32 MB as the
 * agent takes them. What is no picture is for the agent to say.
 */
import { open } from "node:fs/promises";
import { within } from "@kenpin/client";
import { KenpinError } from "@kenpin/schema";
import { z } from "zod";

export const Accepts = z.enum(["any", "bytes", "file", "url"]);
export type Accepts = z.infer<typeof Accepts>;

const LIMIT_BYTES = 32 * 1024 * 1024;
const FETCH_MS = 10_000;

export async function pictureOf(payload: unknown, accepts: Accepts, closed: AbortSignal): Promise<Uint8Array> {
  const kind = kindOf(payload);
  if (accepts !== "any" && kind !== accepts) {
    throw new KenpinError("picture-not-taken", `this node takes pictures as ${accepts}, and one came as ${kind}; set it to take any`);
  }
  if (kind === "bytes") return limited(payload as Uint8Array);
  return kind === "url" ? fetched(payload as string, closed) : read(payload as string);
}

function kindOf(payload: unknown): Exclude<Accepts, "any"> {
  if (payload instanceof Uint8Array) return "bytes";
  if (typeof payload !== "string" || payload === "" || payload.length > 4096) {
    throw new KenpinError("picture-missing", `msg.payload should be a picture's bytes, path or address; it is ${describe(payload)}`);
  }
  return /^https?:\/\//i.test(payload) ? "url" : "file";
}

function describe(payload: unknown): string {
  if (typeof payload === "string") return payload === "" ? "an empty text" : `a text of ${payload.length} letters`;
  return Array.isArray(payload) ? "an array" : payload === null ? "null" : typeof payload;
}

async function read(path: string): Promise<Uint8Array> {
  const file = await open(path).catch((cause: NodeJS.ErrnoException) => {
    throw new KenpinError("picture-unreadable", `the picture ${path} cannot be read (${cause.code ?? cause.message})`, { cause });
  });
  try {
    const about = await file.stat();
    if (!about.isFile()) throw new KenpinError("picture-unreadable", `${path} is no file`);
    if (about.size > LIMIT_BYTES) throw tooLarge();
    return await file.readFile();
  } finally {
    await file.close();
  }
}

async function fetched(url: string, closed: AbortSignal): Promise<Uint8Array> {
  try {
    return await within({ timeoutMs: FETCH_MS, signal: closed }, async (signal) => {
      const response = await fetch(url, { signal });
      if (!response.ok) throw new KenpinError("picture-not-fetched", `${url} answered ${response.status}`);
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of response.body ?? []) {
        size += chunk.length;
        if (size > LIMIT_BYTES) throw tooLarge();
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    });
  } catch (cause) {
    if (cause instanceof KenpinError) throw cause;
    throw new KenpinError("picture-not-fetched", `${url} gave no picture within ${FETCH_MS / 1000} s`, { cause });
  }
}

function limited(bytes: Uint8Array): Uint8Array {
  if (bytes.length > LIMIT_BYTES) throw tooLarge();
  return bytes;
}

function tooLarge(): KenpinError {
  return new KenpinError("picture-too-large", `a picture may have ${LIMIT_BYTES} bytes at most; let the camera send a smaller one`);
}
