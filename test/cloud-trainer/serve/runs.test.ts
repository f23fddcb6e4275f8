/** Bundles from words and training runs on a real hub, with the trainer as the process it starts; the good end is a journey's. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { unpackBundle } from "@kenpin/bundle";
import { agentTopics, type BundleRow, PartSheet, PromptSet, type RunRow } from "@kenpin/schema";
import { TuneJob } from "../../../cloud-trainer/src/tune-job.ts";
import {
  makePicture,
  makeSample,
  makeVerdict,
  putBlob,
  type Site,
  type SpeakingAgent,
  speakAs,
  startSite,
  until,
} from "../../support/hub.ts";

const WORDS = { name: "cloth", good: ["a photo of even cloth"], bad: ["a photo of torn cloth", "cloth with a stain"] };
const TOPICS = agentTopics("demo", "edge-1");

let site: Site;
let agent: SpeakingAgent;
let bundle: BundleRow;
let seq = 0;
before(async () => {
  site = await startSite();
  agent = await speakAs(site, "edge-1");
});
after(async () => {
  await agent.close();
  await site.stop();
});

test("words become a signed bundle that holds exactly these words", async () => {
  bundle = await site.hub.client.makeBundle(WORDS);
  const folder = await mkdtemp(join(tmpdir(), "kenpin-words-"));
  const tar = join(folder, "bundle.kenpin");
  await writeFile(tar, await site.hub.client.downloadBundle(bundle.digest));
  const at = { rootKey: agent.rootKey, now: new Date(), newestRelease: 0, agentVersion: "99.0.0" };
  const { manifest } = await unpackBundle({ tar, outDir: join(folder, "unpacked"), ...at });
  const prompts = PromptSet.parse(JSON.parse(await readFile(join(folder, "unpacked/prompts.json"), "utf8")));
  assert.deepEqual({ good: prompts.good, bad: prompts.bad }, { good: WORDS.good, bad: WORDS.bad });
  assert.deepEqual([manifest.name, manifest.release, bundle.release], ["cloth", 1, 1]);
  assert.deepEqual(await site.hub.client.bundles(), [bundle]);
  await rm(folder, { recursive: true });
});

test("a part sheet becomes a bundle with weighted words, which remembers the sheet; one whose words nobody knows is refused", async () => {
  const sheet = PartSheet.parse({ part: "A-7", object: "布", bad: [{ say: "キズ", weight: 2 }, "シミ"] });
  const made = await site.hub.client.makeBundle({ name: "cloth in words", sheet, withText: true });
  const folder = await mkdtemp(join(tmpdir(), "kenpin-words-"));
  const tar = join(folder, "bundle.kenpin");
  await writeFile(tar, await site.hub.client.downloadBundle(made.digest));
  const at = { rootKey: agent.rootKey, now: new Date(), newestRelease: 0, agentVersion: "99.0.0" };
  const { manifest } = await unpackBundle({ tar, outDir: join(folder, "unpacked"), ...at });
  const prompts = PromptSet.parse(JSON.parse(await readFile(join(folder, "unpacked/prompts.json"), "utf8")));
  assert.deepEqual(prompts.bad.slice(0, 2), ["woven fabric with a scratch", "woven fabric with a stain"]);
  const first = prompts.good.length;
  assert.deepEqual([prompts.words?.[first], prompts.weights?.[first], prompts.weights?.[first + 1]], ["キズ", 2, 1]);
  assert.ok(manifest.files["text.onnx"] && manifest.files["text.json"]);
  await rm(folder, { recursive: true });
  const unknown = PartSheet.parse({ part: "A-7", object: "布", bad: ["テカリ"] });
  await assert.rejects(site.hub.client.makeBundle({ name: "x", sheet: unknown }), { code: "word-unknown" });
});

test("without labelled frames, or without its parent, no run is started", async () => {
  await assert.rejects(start(bundle.digest), { code: "nothing-to-learn-from" });
  await assert.rejects(start("0".repeat(64)), { code: "bundle-unknown" });
});

test("a run gets the whole frames that people called good or bad, and a failing one says why", async () => {
  const good = await sample(10, "good");
  const bad = await sample(20, "bad");
  await sample(30, "unsure");
  await sample(40, null);
  await sample(50, "bad", "region");
  // The trainer checks each frame against its digest before use, so this run cannot succeed.
  for (const sha256 of [good, bad]) await writeFile(join(site.dataDir, "blobs", sha256.slice(0, 2), sha256), "damaged");
  const run = await start(bundle.digest);
  const job = TuneJob.parse(JSON.parse(await readFile(join(site.dataDir, "runs", run.id, "job.json"), "utf8")));
  assert.deepEqual(
    job.samples.map(({ sha256, label }) => [sha256, label]),
    [
      [good, "good"],
      [bad, "bad"],
    ],
  );
  assert.deepEqual(job.words, { good: WORDS.good, bad: WORDS.bad });
  const failed = await ended(run.id);
  assert.equal(failed.state, "failed");
  assert.match(failed.error ?? "", /the trainer ended with code 1/);
  assert.equal(failed.result, null);
});

test("a second run is refused while one is under way, and another may start after it", async () => {
  const [first, second] = await Promise.allSettled([start(bundle.digest), start(bundle.digest)]);
  assert.equal(first.status, "fulfilled");
  assert.equal(second.status === "rejected" && second.reason.code, "run-under-way");
  await ended((first as PromiseFulfilledResult<RunRow>).value.id);
  await ended((await start(bundle.digest)).id);
});

test("a hub that was killed marks its run as failed when it starts again", async () => {
  const run = await start(bundle.digest);
  const pid = await trainerPid(run.id);
  await site.restartHub("SIGKILL");
  await until("the trainer to end with its hub", () => !isAlive(pid));
  const after = await site.hub.client.run(run.id);
  assert.equal(after.state, "failed");
  assert.match(after.error ?? "", /the hub was stopped while it ran/);
});

test("a hub that is asked to stop ends the trainer first and says so of its run", async () => {
  const run = await start(bundle.digest);
  const pid = await trainerPid(run.id);
  await site.restartHub("SIGTERM");
  assert.equal((await site.hub.client.run(run.id)).state, "failed");
  assert.equal(isAlive(pid), false);
});

function start(parent: string): Promise<RunRow> {
  return site.hub.client.startRun({ stage: "tune", parent, name: "tuned", budgetSeconds: 1, seed: 1 });
}

async function ended(id: string): Promise<RunRow> {
  await until("the run to end", async () => (await site.hub.client.run(id)).state !== "running", 60_000);
  return site.hub.client.run(id);
}

/** The hub logs the process it started, for operators who look for it. */
async function trainerPid(run: string): Promise<number> {
  const find = () =>
    site.hub
      .log()
      .split("\n")
      .find((line) => line.includes("run-started") && line.includes(run));
  await until("the hub's log", () => find() !== undefined);
  return JSON.parse(find() as string).trainerPid as number;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function sample(shade: number, label: "good" | "bad" | "unsure" | null, evidence: "frame" | "region" = "frame"): Promise<string> {
  const picture = await makePicture(shade);
  const verdict = makeVerdict({ bootId: agent.bootId, seq: ++seq });
  await agent.link.publish(TOPICS.verdict("line"), verdict);
  await agent.link.publish(TOPICS.sample("line"), { ...makeSample(verdict, ++seq, picture.ref), evidence });
  assert.equal((await putBlob(site.hub, agent.token, picture.sha256, picture.bytes)).status, 201);
  await until("the sample", () => agent.acked() === seq);
  if (label) await site.hub.client.label([{ sample: picture.sha256, label, by: "tester" }]);
  return picture.sha256;
}
