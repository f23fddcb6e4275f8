/**
 * The hub's one MQTT connection. In: what enrolled agents publish, handed to the stage it concerns; what is of no use is
 * counted. Out: acknowledgements, commands and desired bundles. Retained state is published again on every connection,
 * since a broker may have lost it.
 */
import { randomUUID } from "node:crypto";
import { connectLink } from "@kenpin/messaging";
import { hubFilters, parseTopic } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Emit, Message, Publish } from "./ports.ts";
import type { Agents } from "./rollout/agents.ts";
import type { Commands } from "./rollout/commands.ts";
import type { Ingest } from "./samples/ingest.ts";

/** One of several hubs takes each of these; the rest goes to every hub, since retained messages reach no shared subscription. */
const SHARED_KINDS = /\/(verdict|sample)\//;
const SHARED_BY_HUBS = "kenpin-hub";

type Listeners = { agents: Agents; commands: Commands; ingest: Ingest; onAgent: (site: string, agent: string) => void };

export function openHubLink({ brokerUrl, emit, log }: { brokerUrl: string; emit: Emit; log: Logger }) {
  let state: "connected" | "away" = "away";
  const url = withoutPassword(brokerUrl);
  const link = connectLink({
    url: brokerUrl,
    clientId: `kenpin-hub-${randomUUID().slice(0, 8)}`,
    onState: (now, detail) => {
      if (now === state) return;
      state = now;
      log[now === "away" ? "warn" : "info"]({ url, detail }, `broker-${now}`);
      emit({ type: "broker", data: { state } });
    },
  });
  const publish: Publish = (topic, payload, options) => link.publish(topic, payload, options);

  const listen = (listeners: Listeners): void => {
    const failed = (what: string) => (error: Error) => log.error({ error: error.message }, what);
    for (const filter of hubFilters()) {
      const options = SHARED_KINDS.test(filter) ? { shared: SHARED_BY_HUBS } : {};
      const take = (topic: string, payload: unknown, raw: Uint8Array) =>
        void hear({ topic, payload, raw }, listeners).catch(failed("message-failed"));
      link.subscribe(filter, take, options);
    }
    link.onConnect(() => void tellAgain(listeners, publish).catch(failed("retained-state-not-sent")));
  };

  return { publish, listen, state: () => state, close: () => link.close() };
}

async function hear(message: Message, { agents, commands, ingest, onAgent }: Listeners): Promise<void> {
  const from = parseTopic(message.topic);
  if (!from) return ingest.count("malformed", { topic: message.topic.slice(0, 200), why: "topic" });
  const { site, agent, kind, rest } = from;
  if (!agents.enrolled(site, agent)) return ingest.count("unknownAgents", { site, agent });
  if (kind === "verdict" || kind === "sample") return ingest.accept(message);
  if (kind === "reply") {
    if (!commands.heard(site, agent, rest, message)) ingest.count("malformed", { site, agent, why: kind });
    return;
  }
  if (kind === "drift") {
    if (!agents.heardDrift(site, agent, rest, message)) return ingest.count("malformed", { site, agent, why: kind });
    return onAgent(site, agent);
  }
  const said = await agents.heard(site, agent, kind === "status" ? "status" : "bundle", message);
  if (said === null) return ingest.count("malformed", { site, agent, why: kind });
  if (said !== true && said.outbox) ingest.raise(site, agent, said.outbox);
  onAgent(site, agent);
}

async function tellAgain({ agents, ingest }: Listeners, publish: Publish): Promise<void> {
  await agents.publishDesired(publish);
  await ingest.acknowledge(await agents.rows());
}

function withoutPassword(url: string): string {
  const parsed = new URL(url);
  parsed.password = "";
  parsed.username = "";
  return parsed.href;
}
