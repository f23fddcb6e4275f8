/** A site whose agent inspects the pictures of other programs at its line door, and a client of that door. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AgentClient, createAgentClient } from "@kenpin/client";
import { type AgentProcess, type EdgeSite, openSite, type SiteOptions } from "./edge-site.ts";

export const DOOR_TOKEN = "a-token-of-the-line-door";

export async function openAskedSite(options: SiteOptions, inspect: object, port = 0): Promise<EdgeSite> {
  const site = await openSite(options);
  const tokenFile = join(site.folder, "line-door.token");
  await writeFile(tokenFile, `${DOOR_TOKEN}\n`);
  const config = JSON.parse(await readFile(site.configFile, "utf8"));
  await writeFile(site.configFile, JSON.stringify({ ...config, lineDoor: { port, tokenFile, inspect } }));
  return site;
}

/** Starts the agent and waits for its door. */
export async function doorClient(site: EdgeSite): Promise<{ agent: AgentProcess; url: string; client: AgentClient }> {
  const agent = await site.startAgent();
  const { url } = (await agent.logged("line-door-open")) as { url: string };
  return { agent, url, client: createAgentClient({ url, token: DOOR_TOKEN }) };
}
