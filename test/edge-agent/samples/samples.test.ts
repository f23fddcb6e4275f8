/** Samples with the real agent: what is announced, what is uploaded, and what never leaves. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import sharp from "sharp";
import { drawFrame } from "../../support/test-bundle.ts";
import { type EdgeSite, openSite, until } from "../edge-site.ts";

test("a drawn frame is announced, its bytes and heat map arrive once, and the device keeps nothing of it", async () => {
  await onSite("frame", async (site) => {
    await site.startAgent();
    const frame = await drawFrame();
    await site.place("line", "one.jpg", frame);
    await until("the sample", () => site.inbox.samples.length === 1);
    const [sample] = site.inbox.samples;
    await until("both pictures", () => site.hub.blobs.size === 2);
    assert.equal(sample?.reason, "random");
    assert.equal(sample?.drawProbability, 1);
    assert.equal(sample?.verdictId, site.inbox.verdicts[0]?.id);
    assert.equal(sample?.seq, 2);
    const stored = site.hub.blobs.get(sample?.frame.sha256 ?? "");
    assert.ok(stored?.bytes.equals(frame));
    assert.equal(stored?.type, "image/jpeg");
    assert.equal((await sharp(site.hub.blobs.get(sample?.map?.sha256 ?? "")?.bytes).metadata()).format, "png");
    assert.ok([...site.hub.blobs.values()].every(({ times }) => times === 1));
    await until("the evidence to go", async () => (await evidence(site)).length === 0);
  });
});

test("pictures wait while the hub is away, across a kill, and arrive when it is back", async () => {
  await onSite("frame", async (site) => {
    const agent = await site.startAgent();
    site.hub.state.answer = 503;
    for (let i = 0; i < 3; i++) await site.place("line", `${i}.jpg`, await drawFrame());
    await until("the samples", () => site.inbox.samples.length === 3);
    await agent.logged("upload-failed");
    await agent.kill();
    assert.equal((await evidence(site)).length, 6);
    site.hub.state.answer = 0;
    await site.startAgent();
    await until("every picture", () => site.hub.blobs.size === 6);
    for (const [name, { bytes }] of site.hub.blobs) assert.equal(createHash("sha256").update(bytes).digest("hex"), name);
  });
});

test("a camera with evidence none never writes or sends a picture, however odd its frames are", async () => {
  await onSite("none", async (site) => {
    await site.startAgent();
    for (let i = 0; i < 5; i++) await site.place("line", `${i}.jpg`, await drawFrame());
    await until("the verdicts", () => site.inbox.verdicts.length === 5);
    await until("an empty outbox", () => site.inbox.statuses.at(-1)?.backlog === 0);
    assert.equal(site.inbox.samples.length, 0);
    assert.equal(site.hub.blobs.size, 0);
    assert.deepEqual(await evidence(site), []);
  });
});

test("pictures that wait are deleted, not sent, once their camera's policy forbids them", async () => {
  for (const policy of ["none", "region"] as const) {
    await onSite("frame", async (site) => {
      const agent = await site.startAgent();
      site.hub.state.answer = 503;
      await site.place("line", "one.jpg", await drawFrame());
      await until("the sample", () => site.inbox.samples.length === 1);
      await until("its acknowledgement", () => site.inbox.statuses.at(-1)?.backlog === 0);
      await agent.logged("upload-failed");
      await agent.kill();
      assert.equal((await evidence(site)).length, 2);
      const cameras = site.config.cameras.map((camera) => ({ ...camera, evidence: policy }));
      await writeFile(site.configFile, JSON.stringify({ ...site.config, cameras }));
      site.hub.state.answer = 0;
      const next = await site.startAgent();
      await next.logged("evidence-no-longer-allowed");
      await until("the evidence to go", async () => (await evidence(site)).length === 0);
      await site.place("line", "two.jpg", await drawFrame());
      await until("the next verdict", () => site.inbox.byTrigger().has("two"));
      if (policy === "region") await until("its picture", () => site.hub.blobs.size === 1);
      assert.equal(site.hub.blobs.size, policy === "region" ? 1 : 0);
    });
  }
});

test("a camera with evidence region sends a part of the picture only, and no map", async () => {
  await onSite("region", async (site) => {
    await site.startAgent();
    await site.place("line", "one.jpg", await drawFrame());
    await until("the sample and its picture", () => site.inbox.samples.length === 1 && site.hub.blobs.size === 1);
    const [sample] = site.inbox.samples;
    assert.equal(sample?.evidence, "region");
    assert.equal(sample?.map, undefined);
    const { width = 0, height = 0, format } = await sharp(site.hub.blobs.get(sample?.frame.sha256 ?? "")?.bytes).metadata();
    const whole = site.inbox.verdicts[0]?.frame;
    assert.equal(format, "png");
    assert.ok(width * height <= ((whole?.width ?? 0) * (whole?.height ?? 0)) / 2, `${width} × ${height}`);
  });
});

test("no more samples are taken in a day than the configuration allows", async () => {
  const site = await openSite({ cameras: [{ name: "line", evidence: "frame" }], sampling: { randomRatio: 1, perDay: 2 } });
  try {
    await site.startAgent();
    for (let i = 0; i < 5; i++) await site.place("line", `${i}.jpg`, await drawFrame());
    await until("the verdicts", () => site.inbox.verdicts.length === 5);
    await until("an empty outbox", () => site.inbox.statuses.at(-1)?.backlog === 0);
    assert.equal(site.inbox.samples.length, 2);
  } finally {
    await site.close();
  }
});

async function onSite(policy: "none" | "region" | "frame", work: (site: EdgeSite) => Promise<void>): Promise<void> {
  const site = await openSite({ cameras: [{ name: "line", evidence: policy }], sampling: { randomRatio: 1 } });
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

async function evidence(site: EdgeSite): Promise<string[]> {
  return readdir(join(site.config.dataDir, "evidence")).catch(() => []);
}
