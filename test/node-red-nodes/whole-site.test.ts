/** Node-RED at a whole site: a real broker, hub and agent, each a process of its own. Commands, verdicts and a roll-out as people would do them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { AgentStatus, BundleReported, BundleRow, Reply, Verdict } from "@kenpin/schema";
import { AgentProcess } from "../edge-agent/edge-site.ts";
import { end, type Site, startSite, until } from "../support/hub.ts";
import { drawFrame } from "../support/test-bundle.ts";
import { type Addresses, type DebugMessage, example, type FlowNode, idOf, type NodeRed, startNodeRed } from "./node-red.ts";
import { shelve } from "./shelved-bundles.ts";

let site: Site;
let agent: AgentProcess;
let red: NodeRed;
let camera: Server;
let flow: FlowNode[];
let folder = "";
let bundles: BundleRow[];

before(async () => {
  site = await startSite();
  await end(site.hub.child, "SIGTERM");
  bundles = await shelve(site.dataDir, ["first", "second"]);
  await site.restartHub("SIGTERM");
  camera = createServer((_request, response) => void drawFrame().then((bytes) => response.end(bytes))).listen(0, "127.0.0.1");
  await once(camera, "listening");
  agent = new AgentProcess(await configure());
  red = await startNodeRed();
  const addresses: Addresses = { broker: site.brokerUrl, hub: site.hub.url, hubToken: site.hub.token };
  const everything = { pass: true, fail: true, unknown: true };
  const parts = ["02 - verdict", "04 - agent", "06 - rollout"].map((name) =>
    example(name, addresses, ({ type, name: label }) => ({
      ...(type === "kenpin-verdict" && everything),
      ...(label === "count and say" && { func: "return msg;" }),
    })),
  );
  flow = (await Promise.all(parts)).flat();
  await deploy("full");
});
after(async () => {
  await red?.stop();
  await agent?.stop();
  camera?.close();
  await site?.stop();
});

test("the agent comes online in the flow, and what its camera sees comes out as verdicts", async () => {
  const isOnline = ({ name, msg }: DebugMessage) => name === "status" && (msg.payload as AgentStatus).state === "online";
  await until("the agent", () => red.debug.some(isOnline));
  await place("part-1.jpg");
  await until("the verdict", () => verdictOf("part-1") !== undefined);
});

test("a paused camera inspects nothing, and goes on where it is resumed", async () => {
  await red.inject(idOf(flow, "pause"));
  const paused = (await red.hears("reply")).payload as Reply;
  assert.deepEqual([paused.ok, paused.message], [true, "pause on camera line"]);
  await place("part-2.jpg");
  await red.inject(idOf(flow, "resume"));
  await red.hears("reply", 2);
  await until("the verdict", () => verdictOf("part-2") !== undefined);
});

test("what an agent refuses is a reply that says why", async () => {
  await ask({ payload: "teach", camera: "nobody" });
  const reply = (await red.hears("reply", 3)).payload as Reply;
  assert.deepEqual([reply.ok, reply.state], [false, "refused"]);
  assert.match(reply.message, /\[unknown-camera\]/);
});

test("a trigger has a picture taken, and the verdict bears its name", async () => {
  await ask({ payload: "trigger", camera: "bench", trigger: "from-node-red" });
  const reply = (await red.hears("reply", 4)).payload as Reply;
  assert.deepEqual([reply.ok, reply.message], [true, "trigger on camera bench"]);
  await until("the verdict", () => verdictOf("from-node-red") !== undefined);
  assert.equal(verdictOf("from-node-red")?.camera, "bench");
});

test("the newest bundle goes to the agent, which proves it and reports that it runs", async () => {
  await until("the first report", () => reports().some(({ state, digest }) => state === "running" && digest === bundles[0]?.digest));
  await red.inject(idOf(flow, "roll out the newest"));
  await until(
    "the second bundle to run",
    () => reports().some(({ state, digest }) => state === "running" && digest === bundles[1]?.digest),
    30_000,
  );
  const states = reports().map(({ state }) => state);
  assert.ok(states.includes("downloading") || states.includes("proving"), states.join());
  await place("part-3.jpg");
  await until("the verdict", () => verdictOf("part-3")?.bundle === bundles[1]?.digest);
});

test("an agent that stops is told of as offline", async () => {
  await agent.stop();
  assert.equal(((await red.hears("went offline")).payload as AgentStatus).state, "offline");
});

function verdictOf(trigger: string): Verdict | undefined {
  const verdicts = red.debug.filter(({ name }) => name === "failed").map(({ msg }) => msg.payload as Verdict);
  return verdicts.find(({ triggerId }) => triggerId === trigger);
}

function reports(): BundleReported[] {
  const standings = red.debug
    .filter(({ name }) => name === "desired and reported")
    .map(({ msg }) => msg.payload as { reported: BundleReported | null });
  return standings.flatMap(({ reported }) => (reported ? [reported] : []));
}

/** Through the example's own inject, with other properties. */
async function ask(message: Record<string, string>): Promise<void> {
  const props = Object.entries(message).map(([p, v]) => ({ p, v, vt: "str" }));
  flow = flow.map((node) => (node["name"] === "pause" ? { ...node, props } : node));
  await deploy("nodes");
  await red.inject(idOf(flow, "pause"));
}

/** What is said before a node listens is not heard. */
async function deploy(type: "full" | "nodes"): Promise<void> {
  await red.deploy(flow, type);
  await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.status.connected");
}

async function place(name: string): Promise<void> {
  await writeFile(join(folder, `.${name}`), await drawFrame());
  await rename(join(folder, `.${name}`), join(folder, name));
}

function cameraUrl(): string {
  const address = camera.address();
  return `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/snapshot.jpg`;
}

async function configure(): Promise<string> {
  const { token, rootKey } = await site.hub.client.enrol({ site: "demo", agent: "edge-1" });
  const place = join(site.dataDir, "edge");
  folder = join(place, "line");
  await mkdir(folder, { recursive: true });
  const bundle = join(place, "first.kenpin");
  await writeFile(bundle, await site.hub.client.downloadBundle(bundles[0]?.digest ?? ""));
  const config = {
    site: "demo",
    line: "line-1",
    agent: "edge-1",
    dataDir: join(place, "data"),
    broker: { url: site.brokerUrl },
    hub: { url: site.hub.url, token },
    rootKey,
    bundle,
    cameras: [
      { name: "line", deadlineMs: 20_000, source: { kind: "folder", path: folder } },
      { name: "bench", deadlineMs: 20_000, triggered: true, source: { kind: "snapshot", url: cameraUrl(), intervalMs: 100 } },
    ],
    threads: 1,
    page: false,
  };
  await writeFile(join(place, "agent.yaml"), JSON.stringify(config));
  return join(place, "agent.yaml");
}
