/**
 * The running agent's page as a program on the same machine speaks with it: the address and the token are in the data folder, so
 * whoever may read that may do what the page does. In: the data folder. Out: calls whose answers are read by their contracts; what
 * the page refuses is thrown with its own code and line.
 */
import { readFile } from "node:fs/promises";
import { type AgentConfig, ErrorBody, KenpinError, parseAtDoor } from "@kenpin/schema";
import type { z } from "zod";
import { pageTokenFile } from "./page-access.ts";
import { pageUrlFile } from "./page-server.ts";

type Method = "GET" | "POST" | "PUT" | "DELETE";
/** `body`: bytes go as they are, anything else as JSON. */
type Sent = { body?: unknown; timeoutMs?: number };
export type PageClient = {
  url: string;
  ask: <S extends z.ZodType>(answer: S, method: Method, path: string, sent?: Sent) => Promise<z.infer<S>>;
  bytes: (path: string) => Promise<Uint8Array>;
};

const TIMEOUT_MS = 60_000;

export async function pageClient({ dataDir }: Pick<AgentConfig, "dataDir">): Promise<PageClient> {
  const { url, token } = await runningPage(dataDir);
  const call = async (method: Method, path: string, { body, timeoutMs = TIMEOUT_MS }: Sent = {}): Promise<Response> => {
    const response = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": typeOf(body) }) },
      ...(body !== undefined && { body: body instanceof Uint8Array ? Buffer.from(body) : JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    }).catch((cause: unknown) => {
      throw new KenpinError("page-away", `the page at ${url} does not answer; is the agent running?`, { cause });
    });
    if (!response.ok) throw await refusalOf(response);
    return response;
  };
  return {
    url,
    ask: async (answer, method, path, sent) => parseAtDoor(answer, await (await call(method, path, sent)).json(), "the page's answer"),
    bytes: async (path) => new Uint8Array(await (await call("GET", path)).arrayBuffer()),
  };
}

/** Where the page of a running agent is, and what opens it. */
async function runningPage(dataDir: string): Promise<{ url: string; token: string }> {
  try {
    const [url, token] = await Promise.all([readFile(pageUrlFile(dataDir), "utf8"), readFile(pageTokenFile(dataDir), "utf8")]);
    return { url: url.trim(), token: token.trim() };
  } catch (cause) {
    throw new KenpinError("page-away", `no agent serves its page from ${dataDir}; start it with kenpin-agent run, with page not false`, {
      cause,
    });
  }
}

async function refusalOf(response: Response): Promise<KenpinError> {
  const body = ErrorBody.safeParse(await response.json().catch(() => null));
  if (body.success) return new KenpinError(body.data.code, body.data.message);
  return new KenpinError("page-refused", `the page answered ${response.status}; the agent's log says more`);
}

function typeOf(body: unknown): string {
  return body instanceof Uint8Array ? "application/octet-stream" : "application/json";
}
