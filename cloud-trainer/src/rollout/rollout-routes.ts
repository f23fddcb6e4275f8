/** HTTP of agents: enrolment, commands, and which bundle each one should run. */
import {
  agentTopics,
  type BundleDesired,
  type BundleRow,
  CommandRequest,
  type Enrolment,
  EnrolRequest,
  RolloutRequest,
} from "@kenpin/schema";
import { readJson, Refusal } from "@kenpin/page";
import { Hono } from "hono";
import { type Door, needs } from "../door.ts";
import type { Publish } from "../ports.ts";
import type { Agents } from "./agents.ts";
import type { Commands } from "./commands.ts";

type Parts = {
  agents: Agents;
  commands: Commands;
  publish: Publish;
  rootKey: string;
  bundleOf: (digest: string) => Promise<BundleRow | null>;
  onAgent: (site: string, agent: string) => void;
};

export function rolloutRoutes({ agents, commands, publish, rootKey, bundleOf, onAgent }: Parts): Hono<Door> {
  const routes = new Hono<Door>();

  routes.get("/v1/agents", needs("viewer"), async (c) => c.json(await agents.rows()));

  routes.post("/v1/agents", needs("admin"), async (c) => {
    const { site, agent } = await readJson(c, EnrolRequest, "enrolment");
    const enrolment: Enrolment = { site, agent, token: await agents.enrol(site, agent), rootKey };
    onAgent(site, agent);
    return c.json(enrolment, 201);
  });

  routes.post("/v1/agents/:site/:agent/commands", needs("engineer"), async (c) => {
    const { site, agent } = c.req.param();
    const request = await readJson(c, CommandRequest, "command");
    const row = await agents.row(site, agent);
    if (!row) throw unknownAgent(site, agent);
    if (row.status?.state === "offline") {
      throw new Refusal(409, "agent-offline", `${site}/${agent} is offline since ${row.status.at}; commands are not kept for later`);
    }
    return c.json(await commands.send(site, agent, request));
  });

  routes.post("/v1/rollouts", needs("engineer"), async (c) => {
    const { bundle: digest, site, agents: names } = await readJson(c, RolloutRequest, "rollout");
    const bundle = await bundleOf(digest);
    if (!bundle) throw new Refusal(404, "bundle-unknown", `this hub holds no bundle ${digest}`);
    const stranger = names.find((name) => !agents.enrolled(site, name));
    if (stranger) throw unknownAgent(site, stranger);
    const desired: BundleDesired = {
      schemaVersion: 1,
      digest,
      bytes: bundle.bytes,
      release: bundle.release,
      path: `/v1/bundles/${digest}`,
    };
    for (const name of names) {
      await agents.desire(site, name, desired);
      // With the broker away it goes out when the broker is back: what is remembered is published on every connection.
      await publish(agentTopics(site, name).bundleDesired, desired, { retain: true }).catch(() => undefined);
      onAgent(site, name);
    }
    return c.json({ desired });
  });

  return routes;
}

function unknownAgent(site: string, agent: string): Refusal {
  return new Refusal(404, "agent-unknown", `no agent ${site}/${agent} is enrolled here; enrol it with POST /v1/agents`);
}
