/** What `kenpin-agent doctor` and `bench` say of a device, in order and with each thing that can be wrong with it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { drawFrame, testBundle } from "../support/test-bundle.ts";
import { type EdgeSite, openSite, runCli } from "./edge-site.ts";

type Check = { name: string; state: string; detail: string; advice?: string; facts?: Record<string, unknown> };

test("a device in order: every check is ok, with provider, threads and what was measured; also while the agent runs", async () => {
  await onSite(async (site) => {
    const before = await doctor(site);
    assert.equal(before.code, 0, before.text);
    assert.deepEqual([...new Set(before.checks.map(({ state }) => state))], ["ok"], before.text);
    const named = (name: string) => before.checks.filter((check) => check.name === name);
    for (const name of ["node", "disk", "clock", "broker", "hub", "camera line", "bundle", "runtime", "golden images"]) {
      assert.equal(named(name).length, 1, name);
    }
    assert.match(named("provider")[0]?.detail ?? "", /^cpu runs the model, \d+\.\d+ ms a tile$/);
    assert.deepEqual(
      named("provider").map(({ facts }) => facts?.["provider"]),
      ["cpu", "tensorrt", "cuda", "webgpu"],
    );
    assert.match(named("threads and tiles")[0]?.detail ?? "", /^1 threads \(of the configuration\), \d+ tiles at once, on /);
    assert.match(named("bundle")[0]?.detail ?? "", /not installed yet/);
    await site.startAgent();
    const beside = await doctor(site);
    assert.equal(beside.code, 0, beside.text);
    assert.match(beside.checks.find(({ name }) => name === "bundle")?.detail ?? "", /release 1, fp32, installed, every file as signed/);
    assert.ok(
      site.inbox.statuses.every(({ state }) => state === "online"),
      "the agent's own connection was left alone",
    );
  });
});

test("each camera is asked for a picture, whatever its kind; one that gives none is named with why, and never with its password", async () => {
  await onSite(async (site) => {
    const server = createServer((_, response) => response.end("a picture"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/snapshot`;
    const cameras = [
      { name: "asked", source: { kind: "snapshot", url } },
      { name: "refused", source: { kind: "snapshot", url: "http://user:hush-hush@127.0.0.1:1/snapshot" } },
      { name: "missing", source: { kind: "rtsp", url: "rtsp://127.0.0.1:1/live", command: "/nowhere/ffmpeg" } },
    ];
    await writeFile(site.configFile, JSON.stringify({ ...site.config, cameras }));
    const { checks, text } = await doctor(site);
    server.close();
    server.closeAllConnections();
    const of = (name: string) => checks.find((check) => check.name === `camera ${name}`);
    assert.equal(of("asked")?.state, "ok", text);
    assert.deepEqual([of("refused")?.state, of("missing")?.state], ["failed", "failed"]);
    assert.match(of("missing")?.detail ?? "", /\/nowhere\/ffmpeg is not installed/);
    assert.ok(!text.includes("hush-hush"));
  });
});

test("a device without broker, hub and camera folder, with a bundle that was changed: each is named with what to do", async () => {
  await onSite(async (site) => {
    const agent = await site.startAgent();
    await agent.stop();
    await site.broker.stop();
    site.hub.server.close();
    await rm(join(site.folder, "camera-line"), { recursive: true });
    await writeFile(join(site.config.dataDir, "bundles", site.bundle.digest, "thresholds.json"), "{}");
    const { code, checks, text } = await doctor(site);
    assert.equal(code, 1);
    const failed = checks.filter(({ state }) => state === "failed");
    assert.deepEqual(
      failed.map(({ name }) => name),
      ["broker", "hub", "camera line", "bundle"],
      text,
    );
    assert.ok(
      failed.every(({ advice }) => advice),
      "each says what to do",
    );
    assert.match(failed[3]?.detail ?? "", /thresholds\.json has been changed; install it again \[bundle-digest-mismatch\]/);
    const { stdout } = await runCli(["doctor", "--config", site.configFile]);
    assert.match(stdout, /^failed {3}broker {13}mqtt:\/\/127\.0\.0\.1:\d+: .*\n {28}→ see that the broker runs/m);
  });
});

test("a hub that refuses the token, frames that nobody takes, and an interpreter that is missing", async () => {
  await onSite(async (site) => {
    const broken = { ...site.config, hub: { ...site.config.hub, token: "some-other-agent's-token" } };
    await writeFile(site.configFile, JSON.stringify({ ...broken, inspector: { runtime: "python", python: "/nowhere/python3" } }));
    for (let i = 0; i < 100; i++) await writeFile(join(site.folder, "camera-line", `${i}.jpg`), "");
    const { code, checks } = await doctor(site);
    assert.equal(code, 1);
    const of = (name: string) => checks.find((check) => check.name === name);
    assert.deepEqual([of("hub")?.state, of("camera line")?.state, of("runtime")?.state], ["failed", "warning", "failed"]);
    assert.match(of("hub")?.detail ?? "", /refuses this agent's token \(401\)/);
    assert.match(of("runtime")?.detail ?? "", /"\/nowhere\/python3" cannot be started/);
  });
});

test("bench times frames by stage with the bundle's own pictures or a folder's, and says what it ran on", async () => {
  await onSite(async (site) => {
    const own = await runCli(["bench", "--config", site.configFile, "--frames", "12", "--json"]);
    assert.equal(own.code, 0, own.stderr);
    const { frames, provider, runtime, ms, framesPerSecond, sizes } = JSON.parse(own.stdout);
    assert.deepEqual([frames, provider, sizes], [12, "cpu", ["48×48"]]);
    assert.match(runtime, /^node 1\./);
    assert.ok(framesPerSecond > 0);
    for (const stage of ["decode", "preprocess", "infer", "map", "pipe", "total"]) {
      assert.ok(ms[stage].median >= 0 && ms[stage].p95 >= ms[stage].median, stage);
    }
    assert.ok(ms.total.median >= ms.infer.median);
    const images = join(site.folder, "pictures");
    await mkdir(images);
    const empty = await runCli(["bench", "--config", site.configFile, "--images", images]);
    assert.match(empty.stderr, /^kenpin-agent: .* holds no pictures; name a folder of JPEG or PNG files \[no-pictures\]\n$/);
    await writeFile(join(images, "one.jpg"), await drawFrame());
    const text = await runCli(["bench", "--config", site.configFile, "--frames", "3", "--images", images]);
    assert.match(text.stdout, /^3 frames of 48×48, fp32, onnxruntime node [\d.]+, cpu, .*\n\nms a frame +median +p95\ndecode /);
    assert.equal((await runCli(["bench", "--config", site.configFile, "--frames", "none"])).code, 1);
  });
});

async function doctor({ configFile }: EdgeSite): Promise<{ code: number | null; checks: Check[]; text: string }> {
  const { code, stdout, stderr } = await runCli(["doctor", "--config", configFile, "--json"]);
  const { ok, checks } = JSON.parse(stdout || "{}") as { ok: boolean; checks: Check[] };
  assert.equal(ok, code === 0, stderr);
  return { code, checks, text: stdout };
}

async function onSite(work: (site: EdgeSite) => Promise<void>): Promise<void> {
  const expiresAt = new Date(Date.now() + 90 * 86_400_000).toISOString();
  const site = await openSite({ bundle: await testBundle({ expiresAt }) });
  try {
    await work(site);
  } finally {
    await site.close();
  }
}
