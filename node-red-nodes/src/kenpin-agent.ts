/**
 * kenpin-agent: how an agent is, and what it is told. In: pause, resume, teach or trigger, for one camera. Out: the agents' status on the first
 * output whenever one changes, and on the second the agent's own reply to a command. Commands go through the hub, which signs them.
 */
import { randomUUID } from "node:crypto";
import { AgentStatus, CommandRequest, KenpinError, Name, parseAtDoor, parseTopic } from "@kenpin/schema";
import { z } from "zod";
import { fitting, listed } from "./filter.ts";
import { onInput, registerLinked } from "./linked-node.ts";
import type { Message, Red } from "./node-red.ts";

const AgentNodeConfig = z.object({
  site: z.string().trim().default(""),
  agent: z.string().trim().default(""),
  camera: z.string().trim().default(""),
  command: z.enum(["message", "pause", "resume", "teach", "trigger"]).default("message"),
  count: z.coerce.number().int().min(1).max(500).default(20),
});
type AgentNodeConfig = z.infer<typeof AgentNodeConfig>;

export function kenpinAgent(RED: Red): void {
  registerLinked(RED, "kenpin-agent", {
    schema: AgentNodeConfig,
    peers: ["broker", "hub"],
    start: (node, config, { link, show, onClose }) => {
      const [sites, agents] = [listed.parse(config.site), listed.parse(config.agent)];
      const leave = link.hear("status", (topic, payload) => {
        const place = parseTopic(topic);
        if (!place || !fitting(sites, place.site) || !fitting(agents, place.agent)) return;
        const parsed = AgentStatus.safeParse(payload);
        if (!parsed.success) {
          node.error(`no status came on ${topic}: ${parsed.error.issues[0]?.message ?? "not JSON"} [status-malformed]`, { topic, payload });
          return;
        }
        node.send([{ topic, payload: parsed.data, site: place.site, agent: place.agent }, null]);
      });
      onClose(leave);
      onInput(node, async (message, send) => {
        const request = commandOf(config, message);
        const [site, agent] = [one(message["site"] ?? config.site, "site"), one(message["agent"] ?? config.agent, "agent")];
        const reply = await link.hub().command(site, agent, request);
        show({ fill: reply.ok ? "green" : "yellow", shape: "dot", text: `kenpin.reply.${reply.state}` });
        send([null, Object.assign(message, { payload: reply, command: request, site, agent })]);
      });
    },
  });
}

function commandOf({ command, camera, count }: AgentNodeConfig, message: Message): CommandRequest {
  const name = command === "message" ? message.payload : command;
  const asked = typeof name === "object" && name !== null ? name : { name };
  const wanted: { name?: unknown; camera: unknown } = { camera: message["camera"] ?? camera, ...asked };
  return parseAtDoor(CommandRequest, { ...needed(wanted, message, count), ...wanted }, "the command");
}

/** What a command needs beside its camera and may leave to the node. */
function needed({ name }: { name?: unknown }, message: Message, count: number): object {
  if (name === "teach") return { count: message["count"] ?? count };
  return name === "trigger" ? { trigger: message["trigger"] ?? randomUUID() } : {};
}

function one(name: unknown, what: string): string {
  const parsed = Name.safeParse(name);
  if (!parsed.success)
    throw new KenpinError("command-without-address", `name one ${what} in the node or in msg.${what}, for a command goes to one agent`);
  return parsed.data;
}
