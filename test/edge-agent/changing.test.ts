/** What changes how the agent decides: desired bundles, taught references, signed commands. All of it while frames come. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readdir, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type PrivateKey, signCommand } from "@kenpin/bundle";
import type { Command } from "@kenpin/schema";
import { createSigner, drawFrame, type TestBundle, testBundle } from "../support/test-bundle.ts";
import { type EdgeSite, openSite, until } from "./edge-site.ts";

const CAMERAS = [{ name: "line" }, { name: "audit" }];

test("a desired bundle is fetched, proven and taken over between two frames, with the references taught before", async () => {
  await onSite(async (site) => {
    await site.startAgent();
    await teach(site, 4);
    const next = await testBundle({ release: 2, thresholds: { pass: 0.3, fail: 0.7 } });
    const playing = play(site, "line", 60);
    await offer(site, next);
    await until("the switch", () => running(site) === next.digest);
    await playing;
    await until("every verdict", () => countOf(site, "line-") === 60);
    const bundles = [...new Set(site.inbox.verdicts.filter(({ triggerId }) => triggerId?.startsWith("line-")).map(({ bundle }) => bundle))];
    assert.deepEqual(bundles, [site.bundle.digest, next.digest]);
    assert.ok(site.inbox.verdicts.every(({ reason }) => reason === undefined || reason === "undecided-band"));
    assert.equal(site.inbox.reported.at(-1)?.references, 4);
    assert.equal(site.inbox.reported.at(-1)?.release, 2);
    const states = site.inbox.reported.filter(({ candidate }) => candidate === next.digest).map(({ state }) => state);
    assert.deepEqual(states, ["downloading", "proving"]);
  });
});

test("a bundle that is foreign, older, cut or cannot prove itself is refused with the reason, and the old one serves on", async () => {
  await onSite(
    async (site) => {
      const agent = await site.startAgent();
      const cut = await testBundle({ release: 9 });
      const cases: [bundle: TestBundle, reason: RegExp][] = [
        [await testBundle({ release: 6, signer: await createSigner() }), /signature-invalid/],
        [await testBundle({ release: 4 }), /bundle-downgrade/],
        [await testBundle({ release: 7, goldenOff: -0.3 }), /golden-mismatch/],
        [await testBundle({ release: 8, brokenModel: true }), /model-unreadable/],
        [cut, /bundle-broken/],
      ];
      await truncate(cut.file, 90_000);
      for (const [bundle, reason] of cases) {
        await offer(site, bundle, (await stat(bundle.file)).size);
        await until(
          `a refusal for ${reason}`,
          () => site.inbox.reported.at(-1)?.candidate === bundle.digest && site.inbox.reported.at(-1)?.state === "refused",
        );
        assert.match(site.inbox.reported.at(-1)?.reason ?? "", reason);
        assert.equal(site.inbox.reported.at(-1)?.digest, site.bundle.digest);
      }
      await site.place("line", "after.jpg", await drawFrame());
      await until("a verdict", () => site.inbox.verdicts.length === 1);
      assert.equal(site.inbox.verdicts[0]?.bundle, site.bundle.digest);
      assert.ok(typeof site.inbox.verdicts[0]?.score === "number");
      assert.equal(agent.lines.filter((line) => line["msg"] === "inspector-running").length, 1);
    },
    await testBundle({ release: 5 }),
  );
});

test("a hub that is away is waited for, and the bundle is taken once it answers", async () => {
  await onSite(async (site) => {
    const agent = await site.startAgent();
    site.hub.state.answer = 503;
    const next = await testBundle({ release: 2 });
    await offer(site, next);
    await agent.logged("hub-away");
    site.hub.state.answer = 0;
    await until("the switch", () => running(site) === next.digest);
    assert.ok(!site.inbox.reported.some(({ state }) => state === "refused"));
  });
});

test("a new bundle whose inspector keeps crashing is rolled back and not taken again", async () => {
  await onSite(async (site) => {
    const agent = await site.startAgent();
    const next = await testBundle({ release: 2 });
    await offer(site, next);
    await until("the switch", () => running(site) === next.digest);
    for (let crashes = 0; crashes < 3; crashes++) {
      const started = agent.lines.filter((line) => line["msg"] === "inspector-running").length;
      process.kill(Number(agent.last("inspector-running")?.["pid"]), "SIGKILL");
      await agent.logged("inspector-running", started + 1);
    }
    await until("the roll-back", () => site.inbox.reported.at(-1)?.state === "rolled-back");
    assert.equal(site.inbox.reported.at(-1)?.digest, site.bundle.digest);
    assert.equal(site.inbox.reported.at(-1)?.candidate, next.digest);
    await agent.stop();
    await site.startAgent(); // the retained wish comes again
    await until("its answer", () => site.inbox.reported.filter(({ state }) => state === "rolled-back").length >= 2);
    await site.place("line", "after.jpg", await drawFrame());
    await until("a verdict", () => site.inbox.verdicts.length === 1);
    assert.equal(site.inbox.verdicts[0]?.bundle, site.bundle.digest);
  });
});

test("while a bundle is on probation the one before it is kept, refused or not, and started with if the new one breaks", async () => {
  await onSite(
    async (site) => {
      const agent = await site.startAgent();
      const bundles = join(site.config.dataDir, "bundles");
      const next = await testBundle({ release: 6 });
      await offer(site, next);
      await until("the switch", () => running(site) === next.digest);
      await offer(site, site.bundle); // older than what ran here
      await until("the refusal", () => site.inbox.reported.at(-1)?.state === "refused");
      assert.match(site.inbox.reported.at(-1)?.reason ?? "", /bundle-downgrade/);
      const newest = await testBundle({ release: 7 });
      await offer(site, newest);
      await until("the second switch", () => running(site) === newest.digest);
      await agent.kill();
      await rm(join(bundles, newest.digest, "manifest.json"));
      site.hub.state.answer = 503; // so that it is not mended at once
      await site.startAgent();
      await until("the report", () => site.inbox.reported.some(({ state }) => state === "rolled-back"));
      const report = site.inbox.reported.find(({ state }) => state === "rolled-back");
      assert.equal(report?.digest, site.bundle.digest);
      assert.equal(report?.candidate, newest.digest);
      assert.match(report?.reason ?? "", /bundle-broken/);
      site.hub.state.answer = 0;
      await until("the broken one to be fetched again", () => running(site) === newest.digest);
    },
    await testBundle({ release: 5 }),
  );
});

test("the next frames of one camera become the references of all, survive a kill in the middle, and are no samples", async () => {
  const sampling = { randomRatio: 1 };
  const site = await openSite({ cameras: [{ name: "line", evidence: "frame" }, { name: "audit" }], sampling });
  try {
    let agent = await site.startAgent();
    await command(site, { name: "teach", camera: "line", count: 4 });
    await until("the reply", () => site.inbox.replies.at(-1)?.state === "accepted");
    await play(site, "line", 2);
    await until("two verdicts", () => countOf(site, "line-") === 2);
    await agent.kill();
    agent = await site.startAgent();
    await play(site, "line", 2, "more");
    await agent.logged("memory-bank-taught");
    await until("the report", () => site.inbox.reported.at(-1)?.references === 4);
    const before = site.inbox.verdicts.at(-1)?.settings;
    await play(site, "audit", 1);
    await until("a verdict of the other camera", () => countOf(site, "audit-") === 1);
    const after = site.inbox.verdicts.at(-1);
    assert.notEqual(after?.settings, before);
    assert.equal(after?.settings, site.inbox.reported.at(-1)?.settings);
    assert.equal(site.inbox.samples.length, 0);
    assert.equal((await readdir(join(site.config.dataDir, "references"))).length, 4);
    await agent.kill();
    await site.startAgent();
    await play(site, "audit", 1, "again");
    await until("a verdict after the restart", () => countOf(site, "audit-again") === 1);
    assert.equal(site.inbox.verdicts.at(-1)?.settings, after?.settings);
  } finally {
    await site.close();
  }
});

test("only signed commands in time, for this agent, for a known camera, and once, are taken", async () => {
  await onSite(async (site) => {
    await site.startAgent();
    await until("the agent online", () => site.inbox.reported.length > 0);
    const stranger = (await createSigner()).signing;
    await command(site, { name: "pause", camera: "line" }, { key: stranger });
    await refusal(site, 1, /signature-invalid/);
    await command(site, { name: "pause", camera: "line" }, { agent: "edge-2" });
    await refusal(site, 2, /command-misaddressed/);
    await command(site, { name: "pause", camera: "line" }, { expiresAt: new Date(Date.now() - 1000) });
    await refusal(site, 3, /command-expired/);
    await command(site, { name: "pause", camera: "lyne" });
    await refusal(site, 4, /unknown-camera/);
    const id = randomUUID();
    await command(site, { name: "resume", camera: "line" }, { id });
    await until("a reply", () => site.inbox.replies.length === 5);
    assert.equal(site.inbox.replies.at(-1)?.state, "accepted");
    await command(site, { name: "resume", camera: "line" }, { id });
    await refusal(site, 6, /command-replayed/);
  });
});

test("a paused camera's frames wait, also across a restart, and are answered when it is resumed", async () => {
  await onSite(async (site) => {
    const agent = await site.startAgent();
    await command(site, { name: "pause", camera: "line" });
    await until("the reply", () => site.inbox.replies.length === 1);
    await agent.kill();
    await site.startAgent();
    await play(site, "line", 2);
    await play(site, "audit", 1);
    await until("the other camera's verdict", () => countOf(site, "audit-") === 1);
    assert.equal(await site.framesLeft("line"), 2);
    await command(site, { name: "resume", camera: "line" });
    await until("the waiting frames", () => countOf(site, "line-") === 2);
  });
});

async function onSite(work: (site: EdgeSite) => Promise<void>, bundle?: TestBundle): Promise<void> {
  const site = await openSite({ cameras: CAMERAS, ...(bundle && { bundle }) });
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

async function play(site: EdgeSite, camera: string, count: number, word = "frame"): Promise<void> {
  for (let i = 0; i < count; i++) {
    await site.place(camera, `${camera}-${word}-${String(i).padStart(3, "0")}.jpg`, await drawFrame());
    await sleep(30);
  }
}

async function teach(site: EdgeSite, count: number): Promise<void> {
  await command(site, { name: "teach", camera: "line", count });
  await until("the reply", () => site.inbox.replies.at(-1)?.state === "accepted");
  await play(site, "line", count, "good");
  await until("the references", () => site.inbox.reported.at(-1)?.references === count);
  site.inbox.verdicts.length = 0;
}

async function offer(site: EdgeSite, bundle: TestBundle, bytes = bundle.bytes): Promise<void> {
  site.hub.bundles.set(bundle.digest, bundle);
  const { digest, manifest } = bundle;
  const desired = { schemaVersion: 1, digest, bytes, release: manifest.release, path: `/v1/bundles/${digest}` };
  await site.inbox.link.publish(site.inbox.topics.bundleDesired, desired, { retain: true });
}

type Order = { name: "teach"; camera: string; count: number } | { name: "pause" | "resume"; camera: string };

async function command(
  site: EdgeSite,
  order: Order,
  {
    key = site.bundle.signer.signing,
    agent = "edge-1",
    expiresAt = new Date(Date.now() + 60_000),
    id = randomUUID() as string,
  }: {
    key?: PrivateKey;
    agent?: string;
    expiresAt?: Date;
    id?: string;
  } = {},
): Promise<void> {
  const whole = { ...order, id, site: "test", agent, expiresAt: expiresAt.toISOString() } as Command;
  const correlationId = randomUUID();
  const signed = {
    jws: await signCommand(key, whole),
    replyTo: site.inbox.topics.reply(correlationId),
    correlationId,
    expiresAt: whole.expiresAt,
  };
  await site.inbox.link.publish(site.inbox.topics.command(order.name), signed);
}

async function refusal(site: EdgeSite, replies: number, reason: RegExp): Promise<void> {
  await until(`a refusal for ${reason}`, () => site.inbox.replies.length === replies);
  assert.equal(site.inbox.replies.at(-1)?.ok, false);
  assert.match(site.inbox.replies.at(-1)?.message ?? "", reason);
}

function running(site: EdgeSite): string | null {
  const last = site.inbox.reported.at(-1);
  return last?.state === "running" ? last.digest : null;
}

function countOf(site: EdgeSite, prefix: string): number {
  return site.inbox.verdicts.filter(({ triggerId }) => triggerId?.startsWith(prefix)).length;
}
