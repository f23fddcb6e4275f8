/** The agent and the broker are killed outright in the middle of the words-alone stage; nothing may be lost or doubled. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Verdict } from "@kenpin/schema";
import { type Factory, splitFrames, startFactory, waitUntil } from "@kenpin/playground";

const FRAMES = splitFrames(resolve(import.meta.dirname, "../../examples/textile")).unseen;

test("an agent killed in the middle of its work comes back and every frame has its verdict once", async () => {
  await inFactory(async (factory) => {
    const playing = factory.audit.play(FRAMES, 50);
    await someVerdicts(factory, 10);
    for (let kills = 0; kills < 3; kills++) {
      factory.processes.agent.kill("SIGKILL");
      await sleep(4000);
    }
    await everyFrameOnce(
      factory,
      (await playing).map(({ trigger }) => trigger),
    );
    assert.equal(factory.processes.agent.restarts, 3);
  });
});

test("a broker killed in the middle of the work loses no committed verdict, and none arrives twice", async () => {
  await inFactory(async (factory) => {
    const playing = factory.audit.play(FRAMES, 50);
    await someVerdicts(factory, 10);
    for (let kills = 0; kills < 3; kills++) {
      factory.processes.broker?.kill("SIGKILL");
      await sleep(2000);
    }
    await everyFrameOnce(
      factory,
      (await playing).map(({ trigger }) => trigger),
    );
    assert.equal(factory.processes.broker?.restarts, 3);
  });
});

async function inFactory(work: (factory: Factory) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "kenpin-kill-"));
  const factory = await startFactory({ dataDir, hubPort: 0 });
  try {
    await work(factory);
  } finally {
    await factory.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function someVerdicts(factory: Factory, count: number): Promise<void> {
  await waitUntil(60_000, `${count} verdicts`, async () => (await allVerdicts(factory)).length >= count);
}

async function everyFrameOnce(factory: Factory, triggers: string[]): Promise<void> {
  await waitUntil(120_000, "a verdict for every frame", async () => (await allVerdicts(factory)).length >= triggers.length);
  await sleep(2000); // a double would still be under way
  const verdicts = await allVerdicts(factory);
  assert.deepEqual(verdicts.map(({ triggerId }) => triggerId).sort(), [...triggers].sort());
  assert.equal(new Set(verdicts.map(({ id }) => id)).size, verdicts.length);
}

async function allVerdicts(factory: Factory): Promise<Verdict[]> {
  return (await factory.hub.verdicts({ after: 0, limit: 500 })).map(({ verdict }) => verdict);
}
