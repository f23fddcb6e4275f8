/** kenpin-label, kenpin-sample, kenpin-agent and kenpin-rollout in a real Node-RED 5 and 4.1, with a real broker and hub, run as their examples say. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { agentTopics, type AgentStatus, type BundleReported, type BundleRow, type Label, type Sample, SignedCommand } from "@kenpin/schema";
import {
  end,
  makePicture,
  makeSample,
  makeVerdict,
  type Picture,
  putBlob,
  type Site,
  type SpeakingAgent,
  speakAs,
  startSite,
  until,
} from "../support/hub.ts";
import { type Addresses, example, faultOf, idOf, type NodeRed, startNodeRed, type Version } from "./node-red.ts";
import { shelve } from "./shelved-bundles.ts";

const TOPICS = agentTopics("demo", "edge-1");

for (const version of ["5", "4.1"] satisfies Version[]) {
  describe(`Node-RED ${version}`, () => {
    let site: Site;
    let agent: SpeakingAgent;
    let red: NodeRed;
    let bundle: BundleRow;
    let addresses: Addresses;
    let seq = 0;

    before(async () => {
      site = await startSite();
      await end(site.hub.child, "SIGTERM");
      [bundle] = (await shelve(site.dataDir, ["cloth"])) as [BundleRow];
      await site.restartHub("SIGTERM");
      agent = await speakAs(site, "edge-1");
      red = await startNodeRed({ version });
      addresses = { broker: site.brokerUrl, hub: site.hub.url, hubToken: site.hub.token };
    });
    after(async () => {
      await red?.stop();
      await agent?.close();
      await site?.stop();
    });

    /** Announces a sample as an agent does, and brings its picture. */
    const announce = async (shade: number, { brought = true } = {}): Promise<{ sample: Sample; picture: Picture }> => {
      const picture = await makePicture(shade);
      const verdict = makeVerdict({ bootId: agent.bootId, seq: ++seq });
      await agent.link.publish(TOPICS.verdict("line"), verdict);
      const sample = makeSample(verdict, ++seq, picture.ref);
      await agent.link.publish(TOPICS.sample("line"), sample);
      if (brought) await putBlob(site.hub, agent.token, picture.sha256, picture.bytes);
      return { sample, picture };
    };

    test("a sample comes as it is announced with the picture that follows it; asked, those that wait come newest first", async () => {
      const flow = await example("05 - sample", addresses);
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-sample"), "kenpin.status.connected");
      const { sample, picture } = await announce(1, { brought: false });
      setTimeout(() => void putBlob(site.hub, agent.token, picture.sha256, picture.bytes), 600);
      const live = await red.hears("sample");
      assert.deepEqual([(live.payload as Sample).id, live["sample"]], [sample.id, picture.sha256]);
      assert.deepEqual(bytesOf(live["picture"]), Buffer.from(picture.bytes));
      await announce(2);
      await red.said("sample", 2);
      await red.inject(idOf(flow, "what waits?"));
      const asked = (await red.said("sample", 4)).slice(2);
      assert.deepEqual(
        asked.map(({ msg }) => [msg["sample"], (msg["parts"] as { index: number; count: number }).index]),
        [
          [(await makePicture(2)).sha256, 0],
          [picture.sha256, 1],
        ],
      );
    });

    test("two buttons label the newest sample, and the hub keeps it", async () => {
      const flow = await example("03 - label", addresses);
      await red.deploy(flow);
      await red.inject(idOf(flow, "fetch the newest sample"));
      await red.shows(idOf(flow, "remember it"), /^[0-9a-f]{12}$/);
      await red.inject(idOf(flow, "bad"));
      const stored = await red.hears("stored");
      const label = stored.payload as Label;
      assert.deepEqual([label.label, label.sample], ["bad", (await makePicture(2)).sha256]);
      const rows = await site.hub.client.samples();
      assert.equal(rows.find(({ sample }) => sample.frame.sha256 === label.sample)?.label?.label, "bad");
      await red.shows(idOf(flow, "kenpin-label"), "kenpin.label.bad");
    });

    test("a label that cannot be reaches the catch node with what to do", async () => {
      const flow = await example("03 - label", addresses, ({ name }) =>
        name === "the remembered one" ? { func: "msg.sample = '0'.repeat(64);\nreturn msg;" } : {},
      );
      await red.deploy(flow);
      await red.inject(idOf(flow, "good"));
      const unknown = await red.hears("wrong");
      assert.match(faultOf(unknown), /\[sample-unknown\]/);
      const none = await example("03 - label", addresses, ({ name }) =>
        name === "the remembered one" ? { func: "msg.payload = 'fine';\nreturn msg;" } : {},
      );
      await red.deploy(none);
      await red.inject(idOf(none, "good"));
      const missing = await red.hears("wrong", 2);
      assert.match(faultOf(missing), /\[sample-missing\]/);
    });

    test("an agent's status comes with each change; a command reaches it through the hub and its own reply comes back", async () => {
      const flow = await example("04 - agent", addresses);
      await agent.link.publish(TOPICS.status, statusOf("online", agent.bootId), { retain: true });
      agent.link.subscribe(TOPICS.commands, (topic, payload) => {
        const { replyTo, correlationId } = SignedCommand.parse(payload);
        const name = topic.split("/").at(-1);
        const ok = name === "pause" || name === "trigger";
        const reply = { schemaVersion: 1, correlationId, ok, state: ok ? "accepted" : "refused", message: `${name} on camera line` };
        void agent.link.publish(replyTo, reply);
      });
      await red.deploy(flow);
      const first = await red.hears("status");
      assert.deepEqual([first["agent"], (first.payload as AgentStatus).state], ["edge-1", "online"]);
      await red.inject(idOf(flow, "pause"));
      const reply = await red.hears("reply");
      assert.deepEqual(
        [reply.payload, reply["command"]],
        [
          { ...Object(reply.payload), ok: true, state: "accepted", message: "pause on camera line" },
          { name: "pause", camera: "line" },
        ],
      );
      await red.shows(idOf(flow, "kenpin-agent"), "kenpin.reply.accepted");
      await red.inject(idOf(flow, "resume"));
      const refused = await red.hears("reply", 2);
      assert.equal((refused.payload as { ok: boolean }).ok, false);
      await agent.link.publish(TOPICS.status, statusOf("offline", agent.bootId), { retain: true });
      const gone = await red.hears("went offline");
      assert.equal((gone.payload as AgentStatus).state, "offline");
      await until("the hub to know", async () => (await site.hub.client.agents())[0]?.status?.state === "offline");
      await red.inject(idOf(flow, "pause"));
      const wrong = await red.hears("wrong", 3);
      assert.match(faultOf(wrong), /\[agent-offline\]/);
    });

    test("the newest bundle is desired of the agent, and what it reports comes out", async () => {
      const flow = await example("06 - rollout", addresses);
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-rollout"), "kenpin.status.connected");
      await red.inject(idOf(flow, "roll out the newest"));
      const answer = await red.hears("answer");
      assert.equal((answer.payload as { desired: { digest: string } }).desired.digest, bundle.digest);
      const desired = await red.hears("desired and reported");
      assert.equal((desired.payload as { desired: { digest: string } }).desired.digest, bundle.digest);
      const reported: BundleReported = {
        schemaVersion: 1,
        state: "running",
        digest: bundle.digest,
        settings: "b".repeat(64),
        release: bundle.release,
        references: 0,
        at: new Date().toISOString(),
      };
      await agent.link.publish(TOPICS.bundleReported, reported, { retain: true });
      const running = await red.hears("desired and reported", 2);
      assert.deepEqual(running.payload, {
        site: "demo",
        agent: "edge-1",
        desired: { ...Object(desired.payload).desired },
        reported,
      });
      // A node of a link that already heard it is told what was retained.
      const before = red.debug.length;
      await red.deploy(
        flow.map((node) => (node.type === "kenpin-rollout" ? { ...node, name: "again" } : node)),
        "nodes",
      );
      await until("the retained one", () =>
        red.debug
          .slice(before)
          .some(({ name, msg }) => name === "desired and reported" && Object(msg.payload).reported?.state === "running"),
      );
    });

    test("a hub that is killed shows in the status and goes to the catch node; when it is back it is asked again", async () => {
      const flow = await example("06 - rollout", addresses);
      await red.deploy(flow);
      const id = idOf(flow, "kenpin-rollout");
      await red.shows(id, /connected|running/);
      await end(site.hub.child, "SIGKILL");
      await red.shows(id, "kenpin.status.hub-away");
      const before = red.debug.length;
      await red.inject(idOf(flow, "roll out the newest"));
      await until(
        "the catch node",
        () => red.debug.slice(before).some(({ name, msg }) => name === "wrong" && /\[hub-away\]/.test(faultOf(msg))),
        30_000,
      );
      await site.restartHub("SIGKILL");
      await red.shows(id, "kenpin.status.connected");
      const answered = red.debug.filter(({ name }) => name === "answer").length;
      await red.inject(idOf(flow, "roll out the newest"));
      await red.said("answer", answered + 1);
    });

    test("a wrong token shows in the status and is named by the catch node", async () => {
      const flow = await example("03 - label", { ...addresses, hubToken: "kt_wrong" });
      await red.deploy(flow);
      await red.shows(idOf(flow, "kenpin-label"), "kenpin.status.hub-refused");
      const before = red.debug.length;
      await red.inject(idOf(flow, "fetch the newest sample"));
      await until("the catch node", () => red.debug.slice(before).some(({ msg }) => /\[token-unknown\]/.test(faultOf(msg))));
      assert.doesNotMatch(red.log(), /kt_wrong/);
    });
  });
}

function statusOf(state: AgentStatus["state"], bootId: string): AgentStatus {
  return { schemaVersion: 1, state, bootId, version: "0.1.0", at: new Date().toISOString() };
}

/** Debug messages carry bytes as {type: "Buffer", data}, as JSON does. */
function bytesOf(value: unknown): Buffer {
  return Buffer.from((value as { data: number[] }).data);
}
