export { type AgentClient, createAgentClient } from "./agent-client.ts";
export { createHubClient, type HubClient } from "./hub-client.ts";
export { within } from "./request-limits.ts";
