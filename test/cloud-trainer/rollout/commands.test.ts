/** Commands and agents' own words, with a link that answers as an agent does and checks the signature as one does. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { trustedKeys, verifyCommand } from "@kenpin/bundle";
import { agentTopics, type Command, SignedCommand } from "@kenpin/schema";
import { type Site, type SpeakingAgent, speakAs, startSite, until } from "../../support/hub.ts";

let site: Site;
let agent: SpeakingAgent;
const TOPICS = agentTopics("demo", "edge-1");
before(async () => {
  site = await startSite();
  agent = await speakAs(site, "edge-1");
});
after(async () => {
  await agent.close();
  await site.stop();
});

test("a command reaches its agent signed by a key the root names, and the agent's reply comes back", async () => {
  const keysJws = (await readFile(join(site.dataDir, "keys/keys.jws"), "utf8")).trim();
  const keys = await trustedKeys(keysJws, agent.rootKey, new Date());
  let heard: Command | null = null;
  agent.link.subscribe(TOPICS.commands, async (_topic, payload) => {
    const { jws, replyTo, correlationId } = SignedCommand.parse(payload);
    heard = await verifyCommand(jws, { keys, site: "demo", agent: "edge-1", now: new Date(), seen: () => false });
    const reply = { schemaVersion: 1, correlationId, ok: true, state: "progress", message: "on it" };
    await agent.link.publish(replyTo, reply);
    await agent.link.publish(replyTo, { ...reply, state: "accepted", message: "the next 20 frames are good" });
  });
  await until("the subscription", async () => {
    const reply = await Promise.race([
      site.hub.client.command("demo", "edge-1", { name: "teach", camera: "line", count: 20 }),
      new Promise<null>((later) => setTimeout(later, 1000, null)),
    ]);
    return reply?.ok === true && reply.state === "accepted";
  });
  const { name, camera, count } = heard as unknown as { name: string; camera: string; count: number };
  assert.deepEqual({ name, camera, count }, { name: "teach", camera: "line", count: 20 });
});

test("an agent that said it goes offline is not asked, and an unknown one neither", async () => {
  const status = { schemaVersion: 1, bootId: randomUUID(), version: "0.1.0", at: new Date().toISOString() };
  await agent.link.publish(TOPICS.status, { ...status, state: "offline" }, { retain: true });
  await until("the status", async () => (await site.hub.client.agents())[0]?.status?.state === "offline");
  await assert.rejects(site.hub.client.command("demo", "edge-1", { name: "pause", camera: "line" }), { code: "agent-offline" });
  await assert.rejects(site.hub.client.command("demo", "nobody", { name: "pause", camera: "line" }), { code: "agent-unknown" });
});

test("the late will of an earlier boot does not bury the boot that came after it", async () => {
  const [earlier, later] = [randomUUID(), randomUUID()];
  const status = { schemaVersion: 1, version: "0.1.0", at: new Date().toISOString() };
  await agent.link.publish(TOPICS.status, { ...status, state: "online", bootId: later }, { retain: true });
  await agent.link.publish(TOPICS.status, { ...status, state: "offline", bootId: earlier }, { retain: true });
  const reported = { schemaVersion: 1, state: "running", digest: "a".repeat(64), settings: "b".repeat(64), release: 3, references: 20 };
  await agent.link.publish(TOPICS.bundleReported, { ...reported, at: new Date().toISOString() }, { retain: true });
  await until("the report", async () => (await site.hub.client.agents())[0]?.reported?.references === 20);
  assert.equal((await site.hub.client.agents())[0]?.status?.bootId, later);
  assert.equal((await site.hub.client.agents())[0]?.status?.state, "online");
});
