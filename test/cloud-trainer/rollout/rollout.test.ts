/** A bundle on its way down: fetched with the agent's own token, desired over MQTT, remembered when broker or hub forget. */
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createHubClient } from "@kenpin/client";
import { connectLink } from "@kenpin/messaging";
import { agentTopics, BundleDesired, type BundleRow } from "@kenpin/schema";
import { pino } from "pino";
import { openKeys } from "../../../cloud-trainer/src/bundle/keys.ts";
import { openShelf } from "../../../cloud-trainer/src/bundle/shelf.ts";
import { openDatabase } from "../../../cloud-trainer/src/serve/database.ts";
import { end, type Site, startSite, until } from "../../support/hub.ts";
import { stageTestBundle } from "../../support/staged-bundle.ts";

let site: Site;
let bundle: BundleRow;
before(async () => {
  site = await startSite();
  await end(site.hub.child, "SIGTERM");
  bundle = await shelve(site.dataDir);
  await site.restartHub("SIGTERM");
});
after(() => site.stop());

test("an agent fetches a bundle with its own token, whole or in parts", async () => {
  const { token } = await site.hub.client.enrol({ site: "demo", agent: "edge-1" });
  const bytes = await createHubClient({ url: site.hub.url, token }).downloadBundle(bundle.digest);
  assert.equal(bytes.length, bundle.bytes);
  const headers = { authorization: `Bearer ${token}`, range: "bytes=512-" };
  const rest = await fetch(`${site.hub.url}/v1/bundles/${bundle.digest}`, { headers });
  assert.equal(rest.status, 206);
  const digest = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
  assert.equal(digest(new Uint8Array(await rest.arrayBuffer())), digest(bytes.slice(512)));
});

test("a rollout is desired of each agent, retained, and desired again by a hub that starts anew", async () => {
  await site.hub.client.enrol({ site: "demo", agent: "edge-1" });
  await site.hub.client.rollOut({ bundle: bundle.digest, site: "demo", agents: ["edge-1"] });
  assert.equal((await desired())?.digest, bundle.digest);
  const forgetful = connectLink({ url: site.brokerUrl, clientId: randomUUID() });
  await until("the link", () => forgetful.connected);
  await forgetful.publish(agentTopics("demo", "edge-1").bundleDesired, null, { retain: true }); // as a broker without a disk would
  await forgetful.close();
  assert.equal(await desired(500), null);
  await site.restartHub("SIGKILL");
  assert.equal((await desired())?.release, bundle.release);
  assert.equal((await site.hub.client.agents())[0]?.desired?.digest, bundle.digest);
});

test("what does not exist cannot be rolled out", async () => {
  const agents = ["edge-1"];
  await assert.rejects(site.hub.client.rollOut({ bundle: "0".repeat(64), site: "demo", agents }), { code: "bundle-unknown" });
  await assert.rejects(site.hub.client.rollOut({ bundle: bundle.digest, site: "demo", agents: ["nobody"] }), { code: "agent-unknown" });
});

/** What a fresh subscriber is told to run; null where nothing is retained within the wait. */
async function desired(waitMs = 5000): Promise<BundleDesired | null> {
  const link = connectLink({ url: site.brokerUrl, clientId: randomUUID() });
  const told = new Promise<BundleDesired | null>((tell) => {
    setTimeout(tell, waitMs, null).unref();
    link.subscribe(agentTopics("demo", "edge-1").bundleDesired, (_topic, payload) => payload && tell(BundleDesired.parse(payload)));
  });
  const result = await told;
  await link.close();
  return result;
}

/** Puts one real bundle on the hub's shelf while the hub is down. */
async function shelve(dataDir: string): Promise<BundleRow> {
  const database = openDatabase(join(dataDir, "hub.sqlite"));
  const keys = await openKeys({ dataDir, now: new Date(), log: pino({ level: "silent" }) });
  const baseDir = join(dataDir, "base");
  await mkdir(baseDir);
  await writeFile(join(baseDir, "model.safetensors"), "only its digest is asked for");
  const shelf = await openShelf({ database, dataDir, baseDir, keys, stage: ({ outDir }) => stageTestBundle(outDir) });
  const row = await shelf.make({ name: "cloth", good: ["even cloth"], bad: ["torn cloth"] });
  await database.close();
  return row;
}
