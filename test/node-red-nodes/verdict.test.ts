/** kenpin-link and kenpin-verdict in a real Node-RED 5 and 4.1, with a real broker and verdicts as agents send them. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { connectLink, type Link } from "@kenpin/messaging";
import { agentTopics, type Verdict } from "@kenpin/schema";
import { startBroker } from "../edge-agent/edge-site.ts";
import { makeVerdict, until } from "../support/hub.ts";
import { example, faultOf, type FlowNode, idOf, type NodeRed, startNodeRed, type Version } from "./node-red.ts";

for (const version of ["5", "4.1"] satisfies Version[]) {
  describe(`Node-RED ${version}`, () => {
    let broker: Awaited<ReturnType<typeof startBroker>>;
    let agent: Link;
    let red: NodeRed;
    let seq = 0;
    const bootId = randomUUID();
    const say = async (part: Partial<Verdict> = {}) => {
      const verdict = makeVerdict({ bootId, seq: ++seq, ...part });
      await agent.publish(agentTopics(verdict.site, verdict.agent).verdict(verdict.camera), verdict);
      return verdict;
    };

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

    test("the example counts failed parts and says so in words", async () => {
      const flow = await example("02 - verdict", { broker: broker.url });
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.status.connected");
      await say({ outcome: "pass" });
      await say({ outcome: "fail", score: 0.87, predictionSet: ["bad"] });
      await say({ outcome: "fail", score: 0.91, predictionSet: ["bad"] });
      const said = await red.said("failed", 2);
      assert.deepEqual(
        said.map(({ msg }) => msg.payload),
        ["line-1 / line: 1 failed, score 0.87", "line-1 / line: 2 failed, score 0.91"],
      );
      await red.shows(idOf(flow, "kenpin-verdict"), "0.91");
    });

    test("line, agent, camera, outcome and score let through what they name, and nothing else", async () => {
      const filter = { line: "line-1, line-2", agent: "edge-2", camera: "top", pass: true, fail: true, unknown: false };
      const flow = await verdictFlow(broker.url, { ...filter, scoreFrom: "0.3", scoreTo: "0.8" });
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.status.connected");
      const fits = { line: "line-2", agent: "edge-2", camera: "top", score: 0.5 };
      const first = await say(fits);
      for (const other of [{ line: "line-3" }, { agent: "edge-1" }, { camera: "side" }, { score: 0.9 }, { score: 0.1 }, { score: null }]) {
        await say({ ...fits, ...other });
      }
      await say({ ...fits, outcome: "unknown", reason: "undecided-band" });
      const last = await say({ ...fits, outcome: "fail", score: 0.8 });
      const said = await red.said("filtered", 2);
      assert.deepEqual(
        said.map(({ msg }) => (msg.payload as Verdict).id),
        [first.id, last.id],
      );
    });

    test("a verdict that an agent sends again comes once", async () => {
      const flow = await verdictFlow(broker.url, {});
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.status.connected");
      const known = red.debug.length;
      const verdict = await say();
      const topic = agentTopics(verdict.site, verdict.agent).verdict(verdict.camera);
      for (let times = 0; times < 3; times++) await agent.publish(topic, verdict);
      const last = await say();
      await until("the last one", () => red.debug.some(({ msg }) => (msg.payload as Verdict)?.id === last.id));
      assert.deepEqual(
        red.debug.slice(known).map(({ msg }) => (msg.payload as Verdict).id),
        [verdict.id, last.id],
      );
    });

    test("what is no verdict reaches the catch node, and the flow goes on", async () => {
      const flow = await example("02 - verdict", { broker: broker.url });
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.status.connected");
      const [wrongs, fails] = ["wrong", "failed"].map((name) => red.debug.filter((one) => one.name === name).length) as [number, number];
      const topic = agentTopics("demo", "edge-1").verdict("line");
      for (const bad of [{ outcome: "fail" }, "text", 7, [], { ...makeVerdict({ bootId, seq: 1 }), score: 7 }])
        await agent.publish(topic, bad);
      await say({ outcome: "fail", score: 0.6 });
      const said = await red.said("wrong", wrongs + 5);
      for (const { msg } of said.slice(wrongs)) assert.match(faultOf(msg), /\[verdict-malformed\]$/);
      await red.said("failed", fails + 1);
      assert.equal(red.child.exitCode, null);
    });

    test("a broker that is killed shows in the status; when it is back, verdicts come again", async () => {
      const flow = await verdictFlow(broker.url, {});
      const id = idOf(flow, "kenpin-verdict");
      await red.deploy(flow);
      await red.shows(id, "kenpin.status.connected");
      await broker.stop();
      await red.shows(id, "kenpin.status.broker-away");
      await broker.start();
      await red.shows(id, "kenpin.status.connected", 40_000);
      await until("the agents' link", () => agent.connected, 40_000);
      const verdict = await say();
      await until("the verdict", () => red.debug.some(({ msg }) => (msg.payload as Verdict)?.id === verdict.id));
    });

    test("a node without a link, or with fields that cannot be, says so and stops nothing", async () => {
      const flow = await verdictFlow(broker.url, { scoreFrom: "seven" });
      const [tab, node] = [idOf(flow, "tab"), idOf(flow, "kenpin-verdict")];
      await red.deploy([...flow, { id: "unlinked00000001", type: "kenpin-verdict", z: tab, link: "", wires: [[]] }]);
      await red.shows(node, "kenpin.status.not-set-up");
      await red.shows("unlinked00000001", "kenpin.status.not-set-up");
      assert.match(red.log(), /kenpin-verdict at scoreFrom/);
    });
  });
}

async function verdictFlow(broker: string, config: object): Promise<FlowNode[]> {
  const all = { pass: true, fail: true, unknown: true };
  const flow = await example("02 - verdict", { broker }, ({ type }) => (type === "kenpin-verdict" ? { ...all, ...config } : {}));
  const out = {
    id: "filtered00000001",
    type: "debug",
    z: idOf(flow, "tab"),
    name: "filtered",
    active: true,
    tosidebar: true,
    complete: "true",
    wires: [],
  };
  return [...flow.filter(({ type }) => type !== "function" && type !== "debug"), out].map((node) =>
    node.type === "kenpin-verdict" ? { ...node, wires: [[out.id]] } : node,
  ) as FlowNode[];
}
