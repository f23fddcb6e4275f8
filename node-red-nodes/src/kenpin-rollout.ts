/**
 * kenpin-rollout: which bundle each agent should run, and which it runs. In: "start" with a bundle's digest and agents, "bundles" for what
 * the hub holds, "agents" for how all stand. Out: on the first output each agent's desired and reported bundle whenever one of them
 * changes; on the second the answers. Pausing one or stepping back to an older release is nothing that a hub offers.
 */
import { BundleDesired, BundleReported, KenpinError, Name, parseAtDoor, parseTopic, Sha256 } from "@kenpin/schema";
import { z } from "zod";
import { fitting, listed } from "./filter.ts";
import type { Link } from "./kenpin-link.ts";
import { onInput, registerLinked } from "./linked-node.ts";
import type { Message, Red, Status } from "./node-red.ts";

const RolloutConfig = z.object({
  site: z.string().trim().default(""),
  agents: listed,
  action: z.enum(["message", "start", "bundles", "agents"]).default("message"),
});
type RolloutConfig = z.infer<typeof RolloutConfig>;
type Standing = { site: string; agent: string; desired: BundleDesired | null; reported: BundleReported | null };

const Action = z.enum(["start", "bundles", "agents"]);
const LOOK: Record<BundleReported["state"], Pick<Required<Status>, "fill" | "shape">> = {
  running: { fill: "green", shape: "dot" },
  downloading: { fill: "blue", shape: "ring" },
  proving: { fill: "blue", shape: "ring" },
  "building-engine": { fill: "blue", shape: "ring" },
  refused: { fill: "red", shape: "dot" },
  "rolled-back": { fill: "red", shape: "dot" },
};

export function kenpinRollout(RED: Red): void {
  registerLinked(RED, "kenpin-rollout", {
    schema: RolloutConfig,
    peers: ["broker", "hub"],
    start: (node, config, { link, show, onClose }) => {
      const standings = new Map<string, Standing>();
      const heard = (kind: "desired" | "reported", schema: typeof BundleDesired | typeof BundleReported) =>
        link.hear(kind, (topic, payload) => {
          const place = parseTopic(topic);
          if (!place || (config.site !== "" && place.site !== config.site) || !fitting(config.agents, place.agent)) return;
          const parsed = schema.safeParse(payload);
          if (!parsed.success) {
            node.error(`no bundle was named on ${topic}: ${parsed.error.issues[0]?.message ?? "not JSON"} [bundle-malformed]`, {
              topic,
              payload,
            });
            return;
          }
          const { site, agent } = place;
          const before = standings.get(`${site}/${agent}`) ?? { site, agent, desired: null, reported: null };
          const standing: Standing = { ...before, [kind]: parsed.data };
          standings.set(`${site}/${agent}`, standing);
          const { reported } = standing;
          if (reported) show({ ...LOOK[reported.state], text: `kenpin.bundle.${reported.state}` });
          node.send([{ topic, payload: standing }, null]);
        });
      onClose(heard("desired", BundleDesired));
      onClose(heard("reported", BundleReported));
      onInput(node, async (message, send) => send([null, Object.assign(message, { payload: await answer(link, config, message) })]));
    },
  });
}

async function answer(link: Link, config: RolloutConfig, message: Message): Promise<unknown> {
  const action = parseAtDoor(Action, config.action === "message" ? message.payload : config.action, "what kenpin-rollout is asked");
  if (action === "bundles") return link.hub().bundles();
  if (action === "agents") return link.hub().agents();
  const bundle = parseAtDoor(Sha256, message["bundle"], "msg.bundle");
  const site = parseAtDoor(Name, message["site"] ?? config.site, "the site");
  const agents = parseAtDoor(z.array(Name).max(10_000), message["agents"] ?? config.agents, "msg.agents");
  if (agents.length === 0) throw new KenpinError("rollout-without-agents", "name the agents in the node or in msg.agents; none means none");
  return link.hub().rollOut({ bundle, site, agents });
}
