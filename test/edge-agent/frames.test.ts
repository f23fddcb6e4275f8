/** Frames in a watched folder and the verdicts they get, with the real agent, broker and inspector. */
import assert from "node:assert/strict";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Verdict } from "@kenpin/schema";
import { FRAME_LIMIT_BYTES } from "../../edge-agent/src/capture/frame-file.ts";
import { drawFrame } from "../support/test-bundle.ts";
import { openSite, until } from "./edge-site.ts";

test("every frame gets exactly one verdict: whole, unreadable, too large, black or frozen", async () => {
  const site = await openSite();
  try {
    await site.startAgent();
    const frozen = await drawFrame();
    await site.place("line", "01-whole.jpg", await drawFrame());
    await site.place("line", "02-garbage.jpg", new TextEncoder().encode("this is no picture"));
    await site.place("line", "03-empty.jpg", new Uint8Array());
    await site.place("line", "04-cut.jpg", (await drawFrame()).subarray(0, 300));
    await placeSparse(join(site.folder, "camera-line"), "05-huge.png", FRAME_LIMIT_BYTES + 1);
    await site.place("line", "06-black.png", await drawFrame({ flat: 1, type: "png" }));
    for (const name of ["07", "08", "09", "10"]) await site.place("line", `${name}-same.jpg`, frozen);
    await site.place("line", "11-whole.png", await drawFrame({ type: "png" }));
    await until("eleven verdicts", () => site.inbox.verdicts.length >= 11);
    await until("the folder to be empty", async () => (await site.framesLeft("line")) === 0);
    const said = [...site.inbox.byTrigger().values()].map(({ triggerId, reason }) => `${triggerId} ${reason ?? "decided"}`);
    const expected = ["02-garbage", "03-empty", "04-cut", "05-huge"].map((name) => `${name} frame-unreadable`);
    expected.push("06-black camera-black", "09-same camera-frozen", "10-same camera-frozen");
    for (const line of expected) assert.ok(said.includes(line), `${line} is missing in ${said.join(", ")}`);
    const { verdicts } = site.inbox;
    assert.equal(verdicts.length, 11);
    assert.deepEqual(
      verdicts.map(({ seq }) => seq),
      Array.from({ length: 11 }, (_, i) => i + 1),
    );
    assert.ok(verdicts.filter(({ reason }) => reason?.startsWith("camera-")).every(({ score }) => score !== null));
    assert.ok(
      verdicts.filter(({ reason }) => reason === "frame-unreadable").every(({ score, outcome }) => score === null && outcome === "unknown"),
    );
  } finally {
    await site.close();
  }
});

test("frames are answered in the order of their names, and a name used again is a new frame", async () => {
  const site = await openSite();
  try {
    for (const name of ["c.jpg", "a.jpg", "b.jpg"]) await site.place("line", name, await drawFrame());
    await site.startAgent();
    await until("three verdicts", () => site.inbox.verdicts.length === 3);
    assert.deepEqual(
      site.inbox.verdicts.map(({ triggerId }) => triggerId),
      ["a", "b", "c"],
    );
    const again = await drawFrame();
    await site.place("line", "a.jpg", again);
    await until("a fourth verdict", () => site.inbox.verdicts.length === 4);
    await until("its file to go", async () => (await site.framesLeft("line")) === 0);
    await site.place("line", "a.jpg", again); // the very same picture under the very same name, delivered once more
    await until("a fifth verdict", () => site.inbox.verdicts.length === 5);
  } finally {
    await site.close();
  }
});

test("an agent killed again and again answers every frame once, with no seq twice", async () => {
  const site = await openSite();
  let [frames, isKilling] = [0, true];
  try {
    let agent = await site.startAgent();
    const playing = (async () => {
      // As long as there is somebody to kill: a start may take longer than any number of frames.
      for (; isKilling; frames++) {
        await site.place("line", `frame-${String(frames).padStart(4, "0")}.jpg`, await drawFrame());
        await sleep(40);
      }
    })();
    for (let kills = 0; kills < 3; kills++) {
      const before = site.inbox.verdicts.length;
      await until("some verdicts", () => site.inbox.verdicts.length >= before + 5);
      await agent.kill();
      agent = await site.startAgent();
    }
    isKilling = false;
    await playing;
    await site.place("line", "the-last.jpg", await drawFrame());
    await until("a verdict for every frame", () => site.inbox.byTrigger().size === frames + 1);
    await until("an empty outbox", () => site.inbox.statuses.at(-1)?.backlog === 0);
    assert.equal(site.inbox.verdicts.length, frames + 1);
    assert.equal(new Set(site.inbox.verdicts.map(identity)).size, frames + 1);
    assert.ok(new Set(site.inbox.verdicts.map(({ bootId }) => bootId)).size >= 3);
  } finally {
    isKilling = false;
    await site.close();
  }
});

test("a file left over by a crash after its verdict is removed without a second one", async () => {
  const site = await openSite();
  const changedAt = new Date("2026-01-02T03:04:05Z");
  try {
    const frame = await drawFrame();
    const agent = await site.startAgent();
    await site.place("line", "left.jpg", frame, changedAt);
    await until("its verdict", () => site.inbox.verdicts.length === 1);
    await until("its file to go", async () => (await site.framesLeft("line")) === 0);
    await agent.kill();
    await site.place("line", "left.jpg", frame, changedAt); // as it lay there between commit and removal
    await site.startAgent();
    await until("its file to go again", async () => (await site.framesLeft("line")) === 0);
    await site.place("line", "next.jpg", await drawFrame());
    await until("the next verdict", () => site.inbox.byTrigger().has("next"));
    assert.equal(site.inbox.verdicts.length, 2);
  } finally {
    await site.close();
  }
});

test("an inspector killed with a frame in hand costs that frame its score, and the next frame is inspected again", async () => {
  const site = await openSite();
  try {
    const agent = await site.startAgent();
    const pid = Number(agent.last("inspector-running")?.["pid"]);
    process.kill(pid, "SIGSTOP");
    await site.place("line", "in-hand.jpg", await drawFrame());
    await sleep(500); // the frame reaches the worker, which stands still
    process.kill(pid, "SIGKILL");
    await site.place("line", "next.jpg", await drawFrame());
    await until("two verdicts", () => site.inbox.verdicts.length === 2);
    const verdicts = site.inbox.byTrigger();
    assert.equal(verdicts.get("in-hand")?.reason, "inspector-failed");
    assert.equal(verdicts.get("in-hand")?.outcome, "unknown");
    assert.equal(verdicts.get("next")?.provider, "cpu");
    assert.ok(typeof verdicts.get("next")?.score === "number");
    assert.notEqual(Number(agent.last("inspector-running")?.["pid"]), pid);
  } finally {
    await site.close();
  }
});

test("a frame whose inspection hangs is unknown at its deadline", async () => {
  const site = await openSite({ cameras: [{ name: "line", deadlineMs: 300 }] });
  try {
    const agent = await site.startAgent();
    const pid = Number(agent.last("inspector-running")?.["pid"]);
    process.kill(pid, "SIGSTOP");
    await site.place("line", "late.jpg", await drawFrame());
    await until("a verdict", () => site.inbox.verdicts.length === 1);
    process.kill(pid, "SIGCONT");
    const [verdict] = site.inbox.verdicts;
    assert.equal(verdict?.reason, "deadline-missed");
    assert.equal(verdict?.deadlineMissed, true);
  } finally {
    await site.close();
  }
});

test("inspection goes on while the broker is away, and what was decided arrives when it is back", async () => {
  const site = await openSite();
  try {
    await site.startAgent();
    await site.broker.stop();
    for (let i = 0; i < 5; i++) await site.place("line", `away-${i}.jpg`, await drawFrame());
    await until("every frame to be answered", async () => (await site.framesLeft("line")) === 0);
    assert.equal(site.inbox.verdicts.length, 0);
    await site.broker.start();
    await until("five verdicts", () => site.inbox.verdicts.length === 5);
    await until("an empty outbox", () => site.inbox.statuses.at(-1)?.backlog === 0);
  } finally {
    await site.close();
  }
});

test("a stopped agent finishes the frame in hand and says that it is offline", async () => {
  const site = await openSite();
  try {
    const agent = await site.startAgent();
    await site.place("line", "last.jpg", await drawFrame());
    await until("a verdict", () => site.inbox.verdicts.length === 1);
    await agent.stop();
    assert.equal(agent.exitCode, 0);
    await until("the farewell", () => site.inbox.statuses.at(-1)?.state === "offline");
    const next = await site.startAgent();
    const own = site.inbox.statuses.at(-1);
    assert.deepEqual(own?.outbox?.at(-1), { bootId: own?.bootId, from: 1 });
    await next.stop();
  } finally {
    await site.close();
  }
});

/** A file of this size that takes no space. */
async function placeSparse(folder: string, name: string, bytes: number): Promise<void> {
  const file = await open(join(folder, name), "w");
  await file.truncate(bytes);
  await file.close();
}

function identity({ bootId, seq }: Verdict): string {
  return `${bootId} ${seq}`;
}
