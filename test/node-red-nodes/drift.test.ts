/** kenpin-drift in a real Node-RED 5 and 4.1: its example says when a camera begins to drift, and hears at its start what was retained. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { connectLink, type Link } from "@kenpin/messaging";
import { agentTopics, Drift } from "@kenpin/schema";
import { startBroker } from "../edge-agent/edge-site.ts";
import { until } from "../support/hub.ts";
import { example, faultOf, idOf, type NodeRed, startNodeRed, type Version } from "./node-red.ts";

const TOPICS = agentTopics("demo", "edge-1");

for (const version of ["5", "4.1"] satisfies Version[]) {
  describe(`Node-RED ${version}`, () => {
    let broker: Awaited<ReturnType<typeof startBroker>>;
    let agent: Link;
    let red: NodeRed;
    const say = (state: Drift["state"], camera = "line") => agent.publish(TOPICS.drift(camera), drift(state, camera), { retain: true });

    before(async () => {
      broker = await startBroker();
      agent = connectLink({ url: broker.url, clientId: "agents" });
      await until("the agents' link", () => agent.connected);
      red = await startNodeRed({ version });
    });
    after(async () => {
      await red?.stop();
      await agent?.close();
      await broker?.stop();
    });

    test("a camera that drifts is named once with the figure that moved most, also by a flow that starts later", async () => {
      await say("drifting", "side");
      const flow = await example("07 - drift", { broker: broker.url });
      await red.deploy(flow);
      assert.equal((await red.hears("drift")).payload, "line-1 / side drifts: sharpness moved most");
      for (const state of ["gathering", "steady", "drifting", "drifting", "steady"] as const) await say(state);
      await say("drifting");
      const said = (await red.said("drift", 3)).map(({ msg }) => msg.payload);
      assert.deepEqual(said.slice(1), Array(2).fill("line-1 / line drifts: sharpness moved most"));
      await red.shows(idOf(flow, "kenpin-drift"), "kenpin.drift.drifting");
    });

    test("what is no drift reaches the catch node; what is taken back says nothing", async () => {
      await agent.publish(TOPICS.drift("line"), null, { retain: true });
      await agent.publish(TOPICS.drift("line"), { state: "drifting" });
      assert.match(faultOf(await red.hears("wrong")), /\[drift-malformed\]$/);
      assert.equal(red.debug.filter(({ name }) => name === "wrong").length, 1);
    });
  });
}

function drift(state: Drift["state"], camera: string): Drift {
  const [at, quantiles] = [new Date().toISOString(), { p05: 0, p50: 1, p95: 2 }];
  return Drift.parse({
    schemaVersion: 1,
    site: "demo",
    line: "line-1",
    agent: "edge-1",
    camera,
    bootId: randomUUID(),
    at,
    state,
    since: at,
    referenceAt: at,
    frames: { reference: 200, window: 20 },
    test: null,
    figures: [{ name: "sharpness", stability: 0.4, reference: quantiles, window: quantiles }],
    bundle: "a".repeat(64),
    settings: "b".repeat(64),
  });
}
