/** Verdicts on their way into the hub, over a real broker: committed first, acknowledged after, once each. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { agentTopics } from "@kenpin/schema";
import { makeVerdict, type Site, speakAs, startSite, until } from "../../support/hub.ts";

let site: Site;
before(async () => {
  site = await startSite();
});
after(() => site.stop());

const TOPICS = agentTopics("demo", "edge-1");

test("a verdict is acknowledged once the hub holds it, and the acknowledgement is retained for who comes later", async () => {
  const agent = await speakAs(site, "edge-1");
  const verdict = makeVerdict({ bootId: agent.bootId, seq: 1 });
  await agent.link.publish(TOPICS.verdict("line"), verdict);
  await until("the acknowledgement", () => agent.acked() === 1);
  const rows = await site.hub.client.verdicts();
  assert.deepEqual(rows.find((row) => row.verdict.id === verdict.id)?.verdict, verdict);
  await agent.close();
  const later = await speakAs(site, "edge-1");
  await until("the retained acknowledgement", () => later.acked(agent.bootId) === 1);
  await later.close();
});

test("the acknowledgement waits at a gap and goes on when it is filled, and a verdict sent twice is stored once", async () => {
  const agent = await speakAs(site, "edge-1");
  const verdicts = [1, 2, 3].map((seq) => makeVerdict({ bootId: agent.bootId, seq }));
  const send = (seq: number) => agent.link.publish(TOPICS.verdict("line"), verdicts[seq - 1]);
  await send(3);
  await send(1);
  await until("the first", () => agent.acked() === 1);
  await send(1);
  await send(2);
  await until("the rest", () => agent.acked() === 3);
  const ids = (await site.hub.client.verdicts({ limit: 500 })).map(({ verdict }) => verdict.id);
  for (const { id } of verdicts) assert.equal(ids.filter((other) => other === id).length, 1);
  await agent.close();
});

test("a hub that never saw a boot goes on where the agent's outbox begins", async () => {
  const agent = await speakAs(site, "edge-1");
  await agent.link.publish(TOPICS.verdict("line"), makeVerdict({ bootId: agent.bootId, seq: 41 }));
  const status = { schemaVersion: 1, state: "online", bootId: agent.bootId, version: "0.1.0", at: new Date().toISOString() };
  await agent.link.publish(TOPICS.status, { ...status, outbox: [{ bootId: agent.bootId, from: 41 }] }, { retain: true });
  await until("the acknowledgement from 41", () => agent.acked() === 41);
  await agent.close();
});

test("a message that no contract takes is put in quarantine and does not hold up the ones behind it", async () => {
  const agent = await speakAs(site, "edge-1");
  const { setAside } = await summary();
  await agent.link.publish(TOPICS.verdict("line"), { ...makeVerdict({ bootId: agent.bootId, seq: 1 }), outcome: "maybe" });
  await agent.link.publish(TOPICS.verdict("line"), { nonsense: true });
  await agent.link.publish(TOPICS.verdict("line"), makeVerdict({ bootId: agent.bootId, seq: 2 }));
  await until("both", () => agent.acked() === 2);
  const after = (await summary()).setAside;
  assert.equal(after.quarantined - setAside.quarantined, 1);
  assert.equal(after.malformed - setAside.malformed, 1);
  await agent.close();
});

test("another message under a number that was taken is kept aside, and the first one stands", async () => {
  const agent = await speakAs(site, "edge-1");
  const first = makeVerdict({ bootId: agent.bootId, seq: 1 });
  await agent.link.publish(TOPICS.verdict("line"), first);
  await agent.link.publish(TOPICS.verdict("line"), makeVerdict({ bootId: agent.bootId, seq: 1, outcome: "fail" }));
  await agent.link.publish(TOPICS.verdict("line"), makeVerdict({ bootId: agent.bootId, seq: 2, id: first.id }));
  await until("the second number", () => agent.acked() === 2);
  const stored = (await site.hub.client.verdicts({ limit: 500 })).filter(({ verdict }) => verdict.bootId === agent.bootId);
  assert.deepEqual(
    stored.map(({ verdict }) => verdict),
    [first],
  );
  await agent.close();
});

test("what an agent says in another agent's name, or from another camera, is kept out of the verdicts", async () => {
  const agent = await speakAs(site, "edge-1");
  const other = await speakAs(site, "edge-2");
  await agent.link.publish(TOPICS.verdict("line"), makeVerdict({ bootId: other.bootId, seq: 1, agent: "edge-2" }));
  await agent.link.publish(TOPICS.verdict("line"), makeVerdict({ bootId: agent.bootId, seq: 1, camera: "audit" }));
  await until("its own number", () => agent.acked() === 1);
  assert.equal(other.acked(), 0, "the boot of edge-2 was moved by edge-1");
  const mine = makeVerdict({ bootId: other.bootId, seq: 1, agent: "edge-2" });
  await other.link.publish(agentTopics("demo", "edge-2").verdict("line"), mine);
  await until("the verdict of edge-2", () => other.acked() === 1);
  const rows = await site.hub.client.verdicts({ limit: 500 });
  assert.deepEqual(
    rows.filter(({ verdict }) => [agent.bootId, other.bootId].includes(verdict.bootId)).map(({ verdict }) => verdict.id),
    [mine.id],
  );
  await Promise.all([agent.close(), other.close()]);
});

test("an agent that nobody enrolled is counted and not believed", async () => {
  const agent = await speakAs(site, "edge-1");
  const before = (await summary()).setAside.unknownAgents;
  const verdict = makeVerdict({ bootId: agent.bootId, seq: 1, agent: "stranger" });
  await agent.link.publish(agentTopics("demo", "stranger").verdict("line"), verdict);
  await until("the count", async () => (await summary()).setAside.unknownAgents === before + 1);
  assert.ok(!(await site.hub.client.verdicts({ limit: 500 })).some((row) => row.verdict.id === verdict.id));
  await agent.close();
});

test("a hub killed again and again under load loses no verdict and stores none twice", async () => {
  const agent = await speakAs(site, "edge-1");
  const verdicts = Array.from({ length: 400 }, (_, i) => makeVerdict({ bootId: agent.bootId, seq: i + 1 }));
  // As an agent's outbox does: whatever is not acknowledged is sent again.
  const sending = (async () => {
    while (agent.acked() < verdicts.length) {
      for (const verdict of verdicts.slice(agent.acked(), agent.acked() + 40)) await agent.link.publish(TOPICS.verdict("line"), verdict);
      await sleep(60);
    }
  })();
  for (let kills = 0; kills < 3; kills++) {
    const reached = agent.acked();
    await until("some progress", () => agent.acked() > reached || agent.acked() === verdicts.length, 30_000);
    await site.restartHub("SIGKILL");
  }
  await sending;
  const stored: string[] = [];
  for (let after = 0; ; ) {
    const rows = await site.hub.client.verdicts({ after, limit: 500 });
    stored.push(...rows.filter(({ verdict }) => verdict.bootId === agent.bootId).map(({ verdict }) => verdict.id));
    after = rows.at(-1)?.row ?? after;
    if (rows.length < 500) break;
  }
  assert.deepEqual(stored.sort(), verdicts.map(({ id }) => id).sort());
  await agent.close();
});

test("an acknowledgement names the latest 64 boots, and a boot that speaks again comes back", async () => {
  const agent = await speakAs(site, "edge-1");
  const boots = Array.from({ length: 70 }, () => randomUUID());
  for (const bootId of boots) await agent.link.publish(TOPICS.verdict("line"), makeVerdict({ bootId, seq: 1 }));
  await until("the last boot", () => agent.acked(boots.at(-1)) === 1);
  const late = await speakAs(site, "edge-1");
  await until("the retained acknowledgement", () => late.acked(boots.at(-1)) === 1);
  assert.equal(late.acked(boots[0]), 0);
  await agent.link.publish(TOPICS.verdict("line"), makeVerdict({ bootId: boots[0] as string, seq: 2 }));
  await until("the first boot again", () => late.acked(boots[0]) === 2);
  await Promise.all([agent.close(), late.close()]);
});

async function summary(): Promise<{
  setAside: Record<string, number> & { quarantined: number; malformed: number; unknownAgents: number };
}> {
  const response = await fetch(`${site.hub.url}/v1/summary`, { headers: { authorization: `Bearer ${site.hub.token}` } });
  return response.json() as Promise<Awaited<ReturnType<typeof summary>>>;
}
