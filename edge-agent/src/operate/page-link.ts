/**
 * `kenpin-agent page-link`: asks the running agent, with the token of its data folder, for a link that opens its page once.
 * In: the configuration and whose name the link carries. Out: the whole address.
 */
import { type AgentConfig, AgentLoginLink } from "@kenpin/schema";
import { pageClient } from "./page-client.ts";

export async function pageLink(config: Pick<AgentConfig, "dataDir">, name: string): Promise<{ url: string; expiresAt: string }> {
  const page = await pageClient(config);
  const link = await page.ask(AgentLoginLink, "POST", "/v1/login-links", { body: { name } });
  return { url: page.url + link.path, expiresAt: link.expiresAt };
}
