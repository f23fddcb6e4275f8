/** The three whole stories among the examples, in a real Node-RED 5 and 4.1: a PLC that speaks Modbus, a report on the disk, a page that labels. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { agentTopics, type Verdict } from "@kenpin/schema";
import { server as modbus } from "jsmodbus";
import { makePicture, makeSample, makeVerdict, putBlob, type Site, type SpeakingAgent, speakAs, startSite, until } from "../support/hub.ts";
import { type Addresses, example, faultOf, idOf, type NodeRed, startNodeRed, type Version } from "./node-red.ts";

for (const version of ["5", "4.1"] satisfies Version[]) {
  describe(`Node-RED ${version}`, () => {
    let site: Site;
    let agent: SpeakingAgent;
    let red: NodeRed;
    let addresses: Addresses;
    let seq = 0;

    before(async () => {
      site = await startSite();
      agent = await speakAs(site, "edge-1");
      red = await startNodeRed({ version });
      addresses = { broker: site.brokerUrl, hub: site.hub.url, hubToken: site.hub.token };
    });
    after(async () => {
      await red?.stop();
      await agent?.close();
      await site?.stop();
    });

    const say = async (part: Partial<Verdict>) => {
      const verdict = makeVerdict({ bootId: agent.bootId, seq: ++seq, ...part });
      await agent.link.publish(agentTopics(verdict.site, verdict.agent).verdict(verdict.camera), verdict);
      return verdict;
    };

    test("a part that does not pass opens the PLC's gate for a quarter of a second; a late verdict and a dead PLC are said", async () => {
      const plc = await startPlc();
      const flow = await example("10 - reject gate with a PLC over Modbus", addresses, ({ type }) =>
        type === "tcp request" ? { port: String(plc.port) } : {},
      );
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.status.connected");
      await say({ outcome: "pass" });
      await say({ outcome: "fail", score: 0.9 });
      await until("the gate to open", () => plc.isOpen());
      await until("the gate to shut", () => !plc.isOpen());
      assert.deepEqual(
        (await red.said("gate", 2)).map(({ msg }) => msg.payload),
        ["open", "shut"],
      );
      await say({ outcome: "unknown", reason: "camera-blurred" });
      assert.deepEqual(
        (await red.said("gate", 4)).slice(2).map(({ msg }) => msg.payload),
        ["open", "shut"],
      );
      await say({ outcome: "fail", capturedAt: new Date(Date.now() - 5000).toISOString() });
      const late = await red.hears("wrong");
      assert.match(faultOf(late), /the part is gone/);
      await plc.stop();
      await say({ outcome: "fail" });
      await red.said("wrong", 2);
      assert.equal(plc.changes(), 4);
    });

    test("the report of the day has one row a camera, and the next one begins anew", async () => {
      const flow = await example("11 - daily quality report", addresses);
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.status.connected");
      for (const outcome of ["pass", "pass", "fail"] as const) await say({ outcome, camera: "top" });
      const last = await say({ outcome: "unknown", reason: "camera-black", camera: "side", line: "line-2" });
      await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.reason.camera-black");
      assert.ok(last);
      await red.inject(idOf(flow, "at six, or now"));
      const report = await red.hears("report");
      const file = await readFile(join(red.userDir, String(report["filename"])), "utf8");
      assert.equal(file, "line,camera,parts,pass,fail,unknown,failed\nline-1,top,3,2,1,0,0.3333\nline-2,side,1,0,0,1,0.0000\n");
      await red.inject(idOf(flow, "at six, or now"));
      assert.equal((await red.hears("report", 2)).payload, "line,camera,parts,pass,fail,unknown,failed");
    });

    test("the page shows the newest unlabelled picture; its buttons label it and show the next", async () => {
      const flow = await example("12 - label by a dashboard button", addresses);
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-sample"), "kenpin.status.connected");
      const shown = async () => unescaped(await (await fetch(`${red.url}/kenpin/label`)).text());
      assert.match(await shown(), /Nothing waits for a label/);
      const picture = await makePicture(9);
      const verdict = await say({});
      await agent.link.publish(agentTopics("demo", "edge-1").sample("line"), makeSample(verdict, ++seq, picture.ref));
      await putBlob(site.hub, agent.token, picture.sha256, picture.bytes);
      await until("the sample", async () => (await site.hub.client.samples({ unlabelled: true }))[0]?.stored === true);
      const page = await shown();
      assert.ok(page.includes(`data:image/png;base64,${Buffer.from(picture.bytes).toString("base64")}`), "the picture is not in the page");
      const action = /action="(label\/[0-9a-f]{64}\/unsure)"/.exec(page)?.[1];
      const answer = await fetch(`${red.url}/kenpin/${action}`, { method: "POST", redirect: "manual" });
      assert.deepEqual([answer.status, answer.headers.get("location")], [303, "/kenpin/label"]);
      assert.equal((await site.hub.client.samples())[0]?.label?.label, "unsure");
      assert.match(await shown(), /Nothing waits for a label/);
      const wrong = await fetch(`${red.url}/kenpin/label/${"0".repeat(64)}/good`, { method: "POST" });
      assert.deepEqual([wrong.status, /\[sample-unknown\]/.test(await wrong.text())], [502, true]);
    });
  });
}

/** What a browser reads in the page's attributes. */
function unescaped(html: string): string {
  return html.replaceAll(/&#x([0-9A-F]{2});/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

/** A PLC's Modbus server, whose coil 0 is the gate. */
async function startPlc() {
  const net: Server = createServer();
  const plc = new modbus.TCP(net, { coils: Buffer.alloc(2) });
  let changes = 0;
  plc.on("postWriteSingleCoil", () => {
    changes++;
  });
  net.listen(0, "127.0.0.1");
  await once(net, "listening");
  const address = net.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    isOpen: () => ((plc.coils[0] ?? 0) & 1) === 1,
    changes: () => changes,
    stop: () => new Promise((stopped) => net.close(stopped)),
  };
}
