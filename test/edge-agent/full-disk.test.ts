/** A real file system of a few megabytes that fills up under a running agent: what goes, what stays, and that it recovers by itself. */
import assert from "node:assert/strict";
import { mkdir, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { mountSmallDisk } from "../support/small-disk.ts";
import { drawFrame } from "../support/test-bundle.ts";
import { type AgentProcess, type EdgeSite, openSite, until } from "./edge-site.ts";

const MB = 1024 ** 2;
let site: EdgeSite;
let disk: ReturnType<typeof mountSmallDisk>;
let agent: AgentProcess;
let frames = 0;

before(async () => {
  const cameras = [{ name: "line", evidence: "frame" as const }];
  const record = { keepFreeMb: 8 };
  site = await openSite({ cameras, sampling: { randomRatio: 1, perDay: 1000 }, acknowledges: false, record });
  await mkdir(site.config.dataDir, { recursive: true });
  disk = mountSmallDisk(site.config.dataDir, "48m");
  if (disk) agent = await site.startAgent();
});

after(async () => {
  await agent?.stop();
  disk?.remove();
  await site.close();
});

test("while there is room every frame's picture is kept, and waits for a hub that does not answer", async (t) => {
  if (!disk) return t.skip("mounting a file system is not allowed here");
  site.hub.state.answer = 503;
  await inspect(10);
  await until("ten samples", () => site.inbox.samples.length === 10);
  assert.equal(lastStatus()?.health?.diskShort, false);
});

test("a disk that fills up costs the pictures, then the samples; every verdict is still recorded and sent", async (t) => {
  if (!disk) return t.skip("mounting a file system is not allowed here");
  await fillTo(4 * MB);
  const shed = await agent.logged("shed-for-room", 2);
  assert.equal(shed["shelf"], "samples");
  assert.deepEqual(
    agent.lines.filter(({ msg }) => msg === "shed-for-room").map(({ shelf }) => shelf),
    ["pictures", "samples"],
  );
  await until("the status to say it", () => lastStatus()?.health?.diskShort === true);
  await inspect(10);
  await until("twenty verdicts", () => site.inbox.verdicts.length === 20);
  assert.equal(site.inbox.samples.length, 10, "no picture is kept while there is no room");
});

test("a disk with nothing left at all keeps frames waiting, none is lost, and it goes on by itself once there is room", async (t) => {
  if (!disk) return t.skip("mounting a file system is not allowed here");
  await fillTo(0);
  for (let i = 0; i < 400; i++) await site.place("line", `full-${String(i).padStart(4, "0")}.jpg`, await drawFrame());
  frames += 400;
  await agent.logged("frame-not-answered");
  await rm(join(site.config.dataDir, "somebody-elses-file"));
  await until("room to be said", () => agent.last("disk-has-room-again") !== undefined);
  await until("every verdict", () => site.inbox.byTrigger().size === frames, 60_000);
  site.inbox.acknowledge();
  await until("an empty outbox", () => lastStatus()?.backlog === 0);
  assert.equal(new Set(site.inbox.verdicts.map(({ triggerId }) => triggerId)).size, frames);
  assert.equal(site.inbox.verdicts.length, frames, "no frame has two verdicts");
  await until("the status to say that there is room", () => lastStatus()?.health?.diskShort === false);
});

async function inspect(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await site.place("line", `frame-${String(frames++).padStart(4, "0")}.jpg`, await drawFrame());
  await until("every frame to be answered", async () => (await site.framesLeft("line")) === 0);
}

function lastStatus() {
  return site.inbox.statuses.at(-1);
}

/** Leaves so many bytes free. */
async function fillTo(free: number): Promise<void> {
  const file = join(site.config.dataDir, "somebody-elses-file");
  const { bavail, bsize } = await statfs(site.config.dataDir);
  await writeFile(file, Buffer.alloc(Math.max(0, bavail * bsize - free), 1), { flag: "a" }).catch((error) => {
    if (error.code !== "ENOSPC") throw error;
  });
}
