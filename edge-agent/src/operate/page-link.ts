/**
 * `kenpin-agent page-link`: asks the running agent, with the token of its data folder, for a link that opens its page once.
 * In: the configuration and whose name the link carries. Out: the whole address.
 */
import { readFile } from "node:fs/promises";
import { type AgentConfig, AgentLoginLink, KenpinError, parseAtDoor } from "@kenpin/schema";
import { pageTokenFile } from "./page-access.ts";
import { pageUrlFile } from "./page-server.ts";

const TIMEOUT_MS = 5000;

export async function pageLink({ dataDir }: Pick<AgentConfig, "dataDir">, name: string): Promise<{ url: string; expiresAt: string }> {
  const { url, token } = await runningPage(dataDir);
  const response = await fetch(`${url}/v1/login-links`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ name }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch((cause: unknown) => {
    throw new KenpinError("page-away", `the page at ${url} does not answer; is the agent running?`, { cause });
  });
  const body: unknown = await response.json();
  if (!response.ok) throw new KenpinError("page-refused", `the page refused: ${(body as { message?: string }).message ?? response.status}`);
  const link = parseAtDoor(AgentLoginLink, body, "the page's answer");
  return { url: url + link.path, expiresAt: link.expiresAt };
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
