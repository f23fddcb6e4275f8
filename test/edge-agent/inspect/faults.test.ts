/** An agent whose inspector or Python runtime dies, hangs, grows or takes minutes to start: frames are answered, and it recovers. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentConfig } from "@kenpin/schema";
import { pythonWithGpu } from "../../support/python-with-gpu.ts";
import { drawFrame, testBundle } from "../../support/test-bundle.ts";
import { type AgentProcess, type CameraOptions, type EdgeSite, openSite, until } from "../edge-site.ts";

const python = process.env["KENPIN_PYTHON"];
const skip = python ? false : "KENPIN_PYTHON names no Python with onnxruntime";
/** Longer than a stand-in's engine takes. */
const SLOW_SECONDS = 6;

test("a hung inspector is ended and started again, though every frame's own deadline was answered long before", async () => {
  await onSite({}, async (site) => {
    const agent = await site.startAgent();
    const pid = inspectorOf(agent);
    process.kill(pid, "SIGSTOP");
    await site.place("line", "hung.jpg", await drawFrame());
    await until("its verdict", () => site.inbox.byTrigger().has("hung"));
    assert.deepEqual(verdict(site, "hung"), ["unknown", "deadline-missed"]);
    await agent.logged("inspector-crashed");
    assert.match(String(agent.last("inspector-crashed")?.["why"]), /^did not answer within \d+ s$/);
    await agent.logged("inspector-running", 2);
    await isInspecting(site, "after");
  });
});

test("an inspector that outgrows its memory is started again, and the log says what it held", async () => {
  await onSite({ inspector: { memoryMb: 400 } }, async (site) => {
    const agent = await site.startAgent();
    await isInspecting(site, "before");
    await agent.stop();
    await writeFile(site.configFile, JSON.stringify({ ...site.config, inspector: { memoryMb: 64 } }));
    const small = await site.startAgent();
    await small.logged("inspector-not-started", 2);
    assert.match(String(small.last("inspector-not-started")?.["why"]), /held \d+ MB of memory, 64 are its limit/);
    await site.place("line", "meanwhile.jpg", await drawFrame());
    await until("its verdict", () => site.inbox.byTrigger().has("meanwhile"));
    assert.deepEqual(verdict(site, "meanwhile"), ["unknown", "model-not-ready"]);
    await small.stop();
    await writeFile(site.configFile, JSON.stringify(site.config));
    await site.startAgent();
    await isInspecting(site, "after");
  });
});

test("a Python runtime that is killed or hangs with a frame in hand costs that frame, and the next one is inspected", {
  skip,
}, async () => {
  await onSite({ inspector: { runtime: "python", python } }, async (site) => {
    const agent = await site.startAgent();
    assert.match(String(agent.last("inspector-running")?.["runtime"]), /^python [\d.]+, Python 3/);
    assert.equal(site.inbox.statuses.at(-1)?.inspector?.runtime, "python");
    const child = await runtimeOf(agent);
    process.kill(child, "SIGSTOP");
    await site.place("line", "killed.jpg", await drawFrame());
    await sleep(300);
    process.kill(child, "SIGKILL");
    await until("its verdict", () => site.inbox.byTrigger().has("killed"));
    assert.deepEqual(verdict(site, "killed"), ["unknown", "inspector-failed"]);
    await agent.logged("inspector-running", 2);
    assert.match(String(agent.last("inspector-crashed")?.["why"]), /the Python runtime process ended \(SIGKILL\)$/);
    await isInspecting(site, "between");
    process.kill(await runtimeOf(agent), "SIGSTOP");
    await site.place("line", "hung.jpg", await drawFrame());
    await agent.logged("inspector-running", 3);
    await isInspecting(site, "after");
    assert.deepEqual(verdict(site, "hung"), ["unknown", "deadline-missed"]);
  });
});

test("while the first engine is built the agent is up and says so, frames are model-not-ready, and then it inspects", {
  skip,
}, async () => {
  await onSite({}, async (site) => {
    await useSlowGpu(site);
    await site.startAgent();
    await until("the build in the status", () => site.inbox.statuses.at(-1)?.inspector?.state === "building-engine");
    const { building } = site.inbox.statuses.at(-1)?.inspector ?? {};
    assert.ok(building && building.provider === "cuda" && building.elapsedMs >= 2000 && building.expectedMs === null);
    await until("the build in the report", () => site.inbox.reported.at(-1)?.state === "building-engine");
    assert.equal(site.inbox.reported.at(-1)?.candidate, site.bundle.digest);
    await site.place("line", "early.jpg", await drawFrame());
    await until("its verdict", () => site.inbox.byTrigger().has("early"));
    assert.deepEqual(verdict(site, "early"), ["unknown", "model-not-ready"]);
    await until("the first inspector", () => site.inbox.reported.at(-1)?.state === "running", 60_000);
    await until("its status", () => site.inbox.statuses.at(-1)?.inspector?.state === "running");
    await isInspecting(site, "ready");
  });
});

test("while a new bundle's engine is built the old one goes on deciding, and the report says how long it may take", { skip }, async () => {
  await onSite({}, async (site) => {
    const agent = await site.startAgent();
    await agent.stop();
    await useSlowGpu(site);
    await site.startAgent();
    await until("the first inspector", () => site.inbox.reported.at(-1)?.state === "running", 60_000);
    const next = await testBundle({ release: 2, otherDigest: true });
    await offer(site, next);
    await until("the build", () => site.inbox.reported.at(-1)?.state === "building-engine");
    const { candidate, digest, building } = site.inbox.reported.at(-1) ?? {};
    assert.deepEqual([candidate, digest], [next.digest, site.bundle.digest]);
    assert.ok(building?.expectedMs, "the last build is known");
    await isInspecting(site, "meanwhile");
    assert.equal(site.inbox.byTrigger().get("meanwhile")?.bundle, site.bundle.digest);
    assert.equal(site.inbox.statuses.at(-1)?.inspector?.state, "running");
    await until("the switch", () => site.inbox.reported.at(-1)?.digest === next.digest, 60_000);
  });
});

test("an agent that is stopped while an engine is built stops at once and leaves no process behind", { skip }, async () => {
  await onSite({}, async (site) => {
    await useSlowGpu(site, 120);
    const agent = await site.startAgent();
    await until("the build", () => site.inbox.statuses.at(-1)?.inspector?.state === "building-engine");
    const children = await processesBelow(Number(agent.last("agent-running")?.["pid"]));
    assert.ok(children.length >= 2, "an inspector and its runtime");
    await agent.stop();
    assert.equal(agent.exitCode, 0);
    for (const pid of children) await until(`process ${pid} to end`, async () => !(await isAlive(pid)));
  });
});

async function onSite(change: { inspector?: object }, work: (site: EdgeSite) => Promise<void>): Promise<void> {
  const cameras: CameraOptions[] = [{ name: "line", deadlineMs: 1500 }];
  const site = await openSite({ cameras });
  try {
    await writeFile(site.configFile, JSON.stringify({ ...site.config, ...change }));
    Object.assign(site.config, change);
    await work(site);
  } finally {
    await site.close();
  }
}

async function useSlowGpu(site: EdgeSite, seconds = SLOW_SECONDS): Promise<void> {
  const inspector: Partial<AgentConfig["inspector"]> = {
    runtime: "python",
    python: await pythonWithGpu(site.folder, "slow", seconds),
    providers: ["cuda", "cpu"],
  };
  await writeFile(site.configFile, JSON.stringify({ ...site.config, inspector }));
}

async function offer(site: EdgeSite, bundle: Awaited<ReturnType<typeof testBundle>>): Promise<void> {
  const { digest, bytes, manifest } = bundle;
  site.hub.bundles.set(digest, bundle);
  const desired = { schemaVersion: 1, digest, bytes, release: manifest.release, path: `/v1/bundles/${digest}` };
  await site.inbox.link.publish(site.inbox.topics.bundleDesired, desired, { retain: true });
}

async function isInspecting(site: EdgeSite, trigger: string): Promise<void> {
  await site.place("line", `${trigger}.jpg`, await drawFrame());
  await until(`a verdict for ${trigger}`, () => site.inbox.byTrigger().has(trigger));
  assert.equal(typeof site.inbox.byTrigger().get(trigger)?.score, "number");
}

function verdict(site: EdgeSite, trigger: string): [outcome?: string, reason?: string] {
  const { outcome, reason } = site.inbox.byTrigger().get(trigger) ?? {};
  return [outcome as string, reason as string];
}

function inspectorOf(agent: AgentProcess): number {
  return Number(agent.last("inspector-running")?.["pid"]);
}

async function runtimeOf(agent: AgentProcess): Promise<number> {
  const [pid] = await processesBelow(inspectorOf(agent));
  return pid as number;
}

async function processesBelow(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const own = text.split(" ").filter(Boolean).map(Number);
  return [...own, ...(await Promise.all(own.map(processesBelow))).flat()];
}

async function isAlive(pid: number): Promise<boolean> {
  const state = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  return state !== null && !/ Z /.test(state);
}
