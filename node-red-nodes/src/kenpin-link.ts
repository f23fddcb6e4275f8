/**
 * kenpin-link, the configuration node: where the broker, the hub and an agent's line door are, and who asks. All nodes that name
 * it share one connection to each; nothing is connected before a node needs it, and all of it ends with the link.
 * In: addresses and, as credentials, a broker's login and the tokens. Out: a Link for the other nodes.
 */
import { randomUUID } from "node:crypto";
import { type AgentClient, createAgentClient, createHubClient, type HubClient } from "@kenpin/client";
import { errorLine, KenpinError, Name, parseAtDoor } from "@kenpin/schema";
import { z } from "zod";
import { tlsMaterial } from "./broker-tls.ts";
import type { Red, RedNode } from "./node-red.ts";
import { type PeerState, Pulse, PULSE_TIMEOUT_MS } from "./peer.ts";
import { type BrokerOptions, type Kind, type Listener, Subscriptions } from "./subscriptions.ts";

export type Peer = "broker" | "hub" | "agent";
export type Link = {
  /** Told at once and at each change; out: how to stop. */
  watch: (peer: Peer, listener: (state: PeerState) => void) => () => void;
  hear: (kind: Kind, listener: Listener) => () => void;
  /** Both fail with `link-incomplete` where the link names none. */
  hub: () => HubClient;
  agent: () => AgentClient;
};
export type LinkNode = RedNode & { kenpin?: Link };

/** What the editor keeps; an empty field is one left out. */
const blank = z.literal("").transform(() => undefined);
const LinkConfig = z.object({
  broker: z.union([blank, z.url({ protocol: /^(mqtts?|wss?)$/, error: "mqtt://host:1883 or mqtts://host:8883 was expected" })]).optional(),
  hub: z.union([blank, z.url({ protocol: /^https?$/, error: "http://host:8420 or https://host was expected" })]).optional(),
  agent: z.union([blank, z.url({ protocol: /^https?$/, error: "http://host:8322 or https://host was expected" })]).optional(),
  site: z.union([blank, Name]).optional(),
  agentName: z.union([blank, Name]).optional(),
  /** The id of a tls-config node. */
  tls: z.string().max(100).optional(),
});
type LinkConfig = z.infer<typeof LinkConfig>;

export function kenpinLink(RED: Red): void {
  RED.nodes.registerType(
    "kenpin-link",
    function (this: LinkNode, config: object) {
      RED.nodes.createNode(this, config);
      try {
        const parsed = parseAtDoor(LinkConfig, config, "kenpin-link");
        openLink(this, parsed, parsed.tls ? tlsMaterial(RED.nodes.getNode(parsed.tls)) : undefined);
      } catch (error) {
        this.error(errorLine(error)); // nodes that name it show that they have no link
      }
    },
    {
      credentials: {
        brokerUser: { type: "text" },
        brokerPassword: { type: "password" },
        hubToken: { type: "password" },
        agentToken: { type: "password" },
      },
    },
  );
}

function openLink(node: LinkNode, config: LinkConfig, tls: BrokerOptions["tls"]): void {
  const ended = new AbortController();
  const hub = config.hub === undefined ? null : { url: config.hub, token: node.credentials?.["hubToken"] ?? "" };
  const agent = config.agent === undefined ? null : { url: config.agent, token: node.credentials?.["agentToken"] ?? "" };
  const subscriptions = new Subscriptions(brokerOptions(node, config, tls), (error) => node.error(errorLine(error)));
  const impatient = {
    hub: hub && createHubClient({ ...hub, timeoutMs: PULSE_TIMEOUT_MS, signal: ended.signal }),
    agent: agent && createAgentClient({ ...agent, timeoutMs: PULSE_TIMEOUT_MS }),
  };
  const stateOf = impatient.agent?.state;
  const pulses = {
    hub: new Pulse(impatient.hub?.me ?? null),
    agent: new Pulse(stateOf ? () => stateOf(ended.signal) : null),
  };
  const hubClient = hub && createHubClient({ ...hub, signal: ended.signal });
  const agentClient = agent && createAgentClient(agent);
  node.kenpin = {
    watch: (peer, listener) => (peer === "broker" ? subscriptions.watch(listener) : pulses[peer].watch(listener)),
    hear: (kind, listener) => subscriptions.hear(kind, listener),
    hub: () => hubClient ?? incomplete("hub"),
    agent: () => agentClient ?? incomplete("agent"),
  };
  node.on("close", (done) => {
    ended.abort();
    for (const pulse of Object.values(pulses)) pulse.close();
    void subscriptions.close().then(done, done);
  });
}

function brokerOptions(
  { id, credentials = {} }: LinkNode,
  { broker, site, agentName }: LinkConfig,
  tls: BrokerOptions["tls"],
): BrokerOptions | null {
  if (broker === undefined) return null;
  if (credentials["brokerPassword"] && !credentials["brokerUser"]) {
    throw new KenpinError("link-incomplete", "the link has a broker's password and no user; brokers refuse one without the other");
  }
  return {
    url: broker,
    // Two that share a name end each other's connection, and a flow that was copied to another machine has the same id.
    clientId: `kenpin-nodered-${id.slice(0, 8)}-${randomUUID().slice(0, 8)}`,
    username: credentials["brokerUser"] || undefined,
    password: credentials["brokerPassword"] || undefined,
    tls,
    site,
    agent: agentName,
  };
}

function incomplete(peer: Peer): never {
  throw new KenpinError("link-incomplete", `this node's kenpin-link names no ${peer}; open the link and fill in the ${peer}'s address`);
}
