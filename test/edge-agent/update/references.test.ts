/** Labelled frames on a device: sets that change by a frame more or less, and a bank that outlives the agent. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { PromptSet, Thresholds } from "@kenpin/schema";
import { databaseFile, openDatabase } from "../../../edge-agent/src/database.ts";
import { ReferenceStore } from "../../../edge-agent/src/update/reference-store.ts";
import { settingsDigest } from "../../../edge-agent/src/update/settings-digest.ts";
import { drawFrame } from "../../support/test-bundle.ts";
import { type AgentProcess, type EdgeSite, openSite, until } from "../edge-site.ts";

async function onStore(dataDir: string, use: (store: ReferenceStore) => Promise<void>): Promise<void> {
  const db = openDatabase(databaseFile(dataDir));
  try {
    await use(new ReferenceStore(db, dataDir));
  } finally {
    db.close();
  }
}

async function keep(store: ReferenceStore, count: number, label: "good" | "bad") {
  const added: { sha256: string; label: "good" | "bad" }[] = [];
  for (let i = 0; i < count; i++) {
    const bytes = await drawFrame(label === "bad" ? { flat: 120 } : {});
    // Flat frames are all alike: a comment behind the picture's end makes each one's bytes its own.
    const own = Buffer.concat([bytes, Buffer.from(`${label} ${i}`)]);
    const sha256 = createHash("sha256").update(own).digest("hex");
    await store.keep(sha256, own);
    added.push({ sha256, label });
  }
  return added;
}

test("a set changes by frames more and fewer, waits to be taught, and the active one stays until then", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "kenpin-references-"));
  try {
    await onStore(dataDir, async (store) => {
      const [good, bad] = [await keep(store, 3, "good"), await keep(store, 1, "bad")];
      store.change({ add: [...good, ...bad] });
      assert.deepEqual(store.active(), []);
      const first = store.complete();
      assert.deepEqual(
        first?.frames.map(({ sha256, label }) => ({ sha256, label })),
        [...good, ...bad],
      );
      assert.equal(store.wants("line"), false);
      store.activate(first?.set as string);
      assert.equal(store.complete(), null);
      store.change({ remove: [good[1]?.sha256 as string], add: [{ sha256: bad[0]?.sha256 as string, label: "good" }] });
      const second = store.complete();
      assert.deepEqual(
        second?.frames.map(({ label }) => label),
        ["good", "good", "good"],
        "one gone, and one said to be good after all",
      );
      store.discard(second?.set as string);
      assert.equal(store.active().length, 4);
      store.change({ remove: store.active().map(({ sha256 }) => sha256) });
      store.activate(store.complete()?.set as string);
      assert.deepEqual(store.active(), []);
      await store.sweep();
      assert.deepEqual(await readdir(join(dataDir, "references")), []);
    });
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

test("a frame's label counts in what decides, and good frames alone have the digest they always had", () => {
  const prompts = { schemaVersion: 1, good: ["a"], bad: ["b"], dim: 1, embeddings: [1, -1], logitScale: 1 } as PromptSet;
  const thresholds = { pass: 0.3, cut: 0.5, fail: 0.7, chosenBy: "a test" } as Thresholds;
  const digest = (label: "good" | "bad") => settingsDigest(prompts, thresholds, [{ sha256: "ab", label }]);
  assert.notEqual(digest("good"), digest("bad"));
  const plain = `{"prompts":{"bad":["b"],"dim":1,"embeddings":[1,-1],"good":["a"],"logitScale":1,"schemaVersion":1},"references":["ab"],"thresholds":{"chosenBy":"a test","cut":0.5,"fail":0.7,"pass":0.3}}`;
  assert.equal(digest("good"), createHash("sha256").update(plain).digest("hex"));
});

test("what was taught is there after a restart; a bank that was spoilt is taught anew; a frame more or less is taught from the rest", async () => {
  const site = await openSite();
  const { dataDir } = site.config;
  try {
    await (await site.startAgent()).stop();
    await onStore(dataDir, async (store) => store.change({ add: [...(await keep(store, 7, "good")), ...(await keep(store, 6, "bad"))] }));
    assert.deepEqual(await taughtBy(site, 1), { references: 7, bad: 6, isNew: true });
    const bank = join(dataDir, "banks", (await readdir(join(dataDir, "banks")))[0] as string);
    const bytes = await readFile(bank);
    assert.deepEqual(await taughtBy(site), { references: 7, bad: 6, isNew: false });
    await truncate(bank, bytes.length - 100);
    assert.deepEqual(await taughtBy(site, 1, "memory-bank-refused"), { references: 7, bad: 6, isNew: true });
    assert.deepEqual(await readFile(bank), bytes, "the very same was taught again");
    await onStore(dataDir, async (store) => store.change({ remove: [store.active()[0]?.sha256 as string] }));
    assert.deepEqual(await taughtBy(site, 2), { references: 6, bad: 6, isNew: true });
    await writeFile(join(dataDir, "banks", "f".repeat(64)), "of a bundle that is gone");
    assert.deepEqual(await taughtBy(site), { references: 6, bad: 6, isNew: false });
    assert.equal((await readdir(join(dataDir, "banks"))).length, 1);
  } finally {
    await site.close();
  }
});

/** Starts the agent, waits until an inspector was taught so many times, and stops it. */
async function taughtBy(site: EdgeSite, times = 1, also?: string): Promise<Record<string, unknown>> {
  const agent: AgentProcess = await site.startAgent();
  const { references, bad, isNew } = await agent.logged("inspector-taught", times);
  if (also) await agent.logged(also);
  await until("the report", () => site.inbox.reported.at(-1)?.references === references);
  await agent.stop();
  return { references, bad, isNew };
}
