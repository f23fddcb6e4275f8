/** kenpin-inspect in a real Node-RED 5 and 4.1, which asks a real agent with the base model: pictures as bytes, files and addresses, and words. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { after, before, describe, test } from "node:test";
import type { Verdict } from "@kenpin/schema";
import { DOOR_TOKEN, doorClient, openAskedSite } from "../edge-agent/asked-site.ts";
import type { AgentProcess, EdgeSite } from "../edge-agent/edge-site.ts";
import { baseBundle, textile } from "../support/base-bundle.ts";
import { freePort } from "../support/mosquitto.ts";
import { until } from "../support/hub.ts";
import { type Addresses, example, faultOf, type FlowNode, idOf, type NodeRed, startNodeRed, type Version } from "./node-red.ts";

let site: EdgeSite;
let agent: AgentProcess;
let camera: Server;
let addresses: Addresses;
let picture: { file: string; bytes: Uint8Array };
let cameraUrl = "";

before(async () => {
  site = await openAskedSite({ bundle: await baseBundle() }, { part: "textile" }, await freePort());
  let url = "";
  ({ agent, url } = await doorClient(site));
  addresses = { agent: url, agentToken: DOOR_TOKEN };
  picture = (await textile("local", 1))[0] as typeof picture;
  camera = createServer((request, response) => {
    if (request.url === "/snapshot.jpg") response.writeHead(200, { "content-type": "image/jpeg" }).end(picture.bytes);
    else response.writeHead(404).end();
  }).listen(0, "127.0.0.1");
  await once(camera, "listening");
  const address = camera.address();
  cameraUrl = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
});
after(async () => {
  camera?.close();
  await site?.close();
});

for (const version of ["5", "4.1"] satisfies Version[]) {
  describe(`Node-RED ${version}`, () => {
    let red: NodeRed;
    before(async () => {
      red = await startNodeRed({ version });
    });
    after(() => red?.stop());

    const untilCaught = (code: string) =>
      until(`the catch node to hear ${code}`, () => red.debug.some(({ msg }) => faultOf(msg).endsWith(`[${code}]`)));

    /** The example, with the pictures that are here. */
    const inspecting = async (link = addresses, payloads: Record<string, string> = {}) => {
      const asked: Record<string, string> = {
        "a file": picture.file,
        "a camera": `${cameraUrl}/snapshot.jpg`,
        "with words": picture.file,
        ...payloads,
      };
      const flow = await example("01 - inspect", link, ({ type, name }) => (type === "inject" ? { payload: asked[String(name)] } : {}));
      await red.deploy(flow);
      return flow;
    };

    test("a file gets its verdict on the first output and its heat map on the second; the hub hears of it too", async () => {
      const flow = await inspecting();
      await red.shows(idOf(flow, "kenpin-inspect"), "kenpin.status.connected");
      await red.inject(idOf(flow, "a file"));
      const verdict = (await red.hears("verdict")).payload as Verdict;
      assert.deepEqual([verdict.mode, verdict.part, verdict.camera, verdict.frame.width], ["live", "textile", "asked", 250]);
      const map = await red.hears("heat map");
      assert.equal(Buffer.from((map.payload as { data: number[] }).data).toString("latin1", 1, 4), "PNG");
      assert.equal((map["verdict"] as Verdict).id, verdict.id);
      await until("the hub", () => site.inbox.verdicts.some(({ id }) => id === verdict.id));
    });

    test("an address and bytes get the same verdict as the file; words of its own make it a try-out", async () => {
      const flow = await inspecting();
      const known = red.debug.filter(({ name }) => name === "verdict").length;
      await red.inject(idOf(flow, "a file"));
      await red.hears("verdict", known + 1);
      await red.inject(idOf(flow, "a camera"));
      await red.hears("verdict", known + 2);
      await red.inject(idOf(flow, "with words"));
      const tried = (await red.hears("verdict", known + 3)).payload as Verdict;
      await red.deploy(withBytes(flow));
      await red.inject(idOf(flow, "a file"));
      await red.hears("verdict", known + 4);
      const scores = (await red.said("verdict")).slice(known).map(({ msg }) => (msg.payload as Verdict).score);
      assert.deepEqual([scores[1], scores[3]], [scores[0], scores[0]]);
      assert.equal(tried.mode, "shadow");
      assert.notEqual(tried.score, scores[0]);
    });

    test("words in the node itself, Japanese ones too, are what a picture is looked at by", async () => {
      const flow = (await inspecting()).map((node) =>
        node.type === "kenpin-inspect" ? { ...node, object: "fabric", bad: "キズ、汚れ", map: false } : node,
      );
      const known = red.debug.filter(({ name }) => name === "verdict").length;
      await red.deploy(flow);
      await red.inject(idOf(flow, "a file"));
      const verdict = (await red.hears("verdict", known + 1)).payload as Verdict;
      assert.deepEqual([verdict.mode, typeof verdict.score], ["shadow", "number"]);
    });

    test("what cannot be inspected reaches the catch node by its name, and Node-RED goes on", async () => {
      const bad = { "a file": "/nowhere/part.jpg", "a camera": `${cameraUrl}/gone.jpg`, "with words": import.meta.filename };
      const flow = await inspecting(addresses, bad);
      for (const name of Object.keys(bad)) await red.inject(idOf(flow, name));
      const codes = (await red.said("wrong", 3)).map(({ msg }) => /\[([\w-]+)\]$/.exec(faultOf(msg))?.[1]);
      assert.deepEqual(codes.sort(), ["picture-expected", "picture-not-fetched", "picture-unreadable"]);
      await red.deploy(flow.map((node) => (node["name"] === "a file" ? { ...node, payloadType: "json", payload: "{}" } : node)));
      await red.inject(idOf(flow, "a file"));
      assert.match(faultOf(await red.hears("wrong", 4)), /\[picture-missing\]$/);
      assert.equal(red.child.exitCode, null);
    });

    test("a flood is answered as far as a hundred may wait; the rest is refused by name, and nothing is lost without a word", async () => {
      const flow = await inspecting();
      const flood = {
        id: "flood00000000001",
        type: "function",
        z: idOf(flow, "tab"),
        name: "",
        outputs: 1,
        wires: [[idOf(flow, "kenpin-inspect")]],
      };
      const func = "for (let i = 0; i < 130; i++) node.send({ payload: msg.payload });";
      const aimed = flow.map((node) => (node["name"] === "a file" ? { ...node, wires: [[flood.id]] } : node));
      await red.deploy([...aimed.map((node) => (node.type === "kenpin-inspect" ? { ...node, map: false } : node)), { ...flood, func }]);
      const told = () => red.debug.filter(({ name }) => name === "verdict" || name === "wrong").length;
      const known = { all: told(), wrong: red.debug.filter(({ name }) => name === "wrong").length };
      await red.inject(idOf(flow, "a file"));
      await until("every picture's answer", () => told() === known.all + 130, 60_000);
      const refused = red.debug.filter(({ name }) => name === "wrong").slice(known.wrong);
      assert.equal(refused.length, 26);
      for (const { msg } of refused) assert.match(faultOf(msg), /\[too-many-waiting\]$/);
    });

    test("a wrong token shows, and names itself to the catch node", async () => {
      const flow = await inspecting({ ...addresses, agentToken: "a-token-of-somebody-else" });
      await red.shows(idOf(flow, "kenpin-inspect"), "kenpin.status.agent-refused");
      await red.inject(idOf(flow, "a file"));
      await untilCaught("token-unknown");
      assert.doesNotMatch(red.log(), /a-token-of/);
    });

    test("an agent that is killed shows and goes to the catch node; when it is back it is asked again", async () => {
      const flow = await inspecting();
      const id = idOf(flow, "kenpin-inspect");
      await red.shows(id, "kenpin.status.connected");
      await agent.kill();
      await red.shows(id, "kenpin.status.agent-away");
      await red.inject(idOf(flow, "a file"));
      await untilCaught("agent-away");
      ({ agent } = await doorClient(site));
      await red.shows(id, "kenpin.status.connected");
      const known = red.debug.filter(({ name }) => name === "verdict").length;
      await red.inject(idOf(flow, "a file"));
      await red.hears("verdict", known + 1);
    });
  });
}

/** The file is read by Node-RED, so that what comes to the node is its bytes. */
function withBytes(flow: FlowNode[]): FlowNode[] {
  const [tab, ask] = [idOf(flow, "tab"), idOf(flow, "kenpin-inspect")];
  const reader = {
    id: "reader0000000001",
    type: "file in",
    z: tab,
    name: "",
    filename: "payload",
    filenameType: "msg",
    format: "",
    wires: [[ask]],
  };
  const bytes = flow.map((node) => (node.type === "inject" ? { ...node, wires: [[reader.id]] } : node));
  return [...bytes.map((node) => (node.type === "kenpin-inspect" ? { ...node, accepts: "bytes" } : node)), reader];
}
