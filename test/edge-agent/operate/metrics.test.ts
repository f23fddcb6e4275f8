/** What Prometheus reads of a running agent, what `kenpin-agent status` says of it, and that neither is open to others. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, test } from "node:test";
import { AgentSnapshot } from "@kenpin/schema";
import { drawFrame } from "../../support/test-bundle.ts";
import { type AgentProcess, type EdgeSite, openSite, runCli, until } from "../edge-site.ts";

let site: EdgeSite;
let agent: AgentProcess;
let url: string;

before(async () => {
  site = await openSite({ metrics: { port: 0 }, page: { port: 0 }, acknowledges: false });
  agent = await site.startAgent();
  url = String((await agent.logged("metrics-served"))["url"]);
  for (let i = 0; i < 5; i++) await site.place("line", `frame-${i}.jpg`, await drawFrame());
  await site.place("line", "garbage.jpg", new TextEncoder().encode("no picture"));
  await until("six verdicts", () => site.inbox.verdicts.length === 6);
});

after(() => site.close());

test("the text is what Prometheus reads: format 0.0.4, a HELP and a TYPE for each metric, every sample of one that was announced", async () => {
  const response = await fetch(url);
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const lines = (await response.text()).trim().split("\n");
  const announced = new Map(lines.flatMap((line) => (line.startsWith("# TYPE ") ? [line.split(" ").slice(2) as [string, string]] : [])));
  const helped = new Set(lines.flatMap((line) => (line.startsWith("# HELP ") ? (line.split(" ")[2] ?? []) : [])));
  for (const line of lines.filter((one) => one !== "" && !one.startsWith("#"))) {
    const [, name = "", value = ""] = /^([a-zA-Z_:][\w:]*)(?:\{[^\n]*\})? (\S+)$/.exec(line) ?? [];
    const base = announced.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
    assert.ok(announced.has(base) && helped.has(base), `not announced: ${line}`);
    assert.ok(value === "Nan" || !Number.isNaN(Number(value.replace("+Inf", "Infinity"))), line);
  }
});

test("verdicts are counted by outcome, their times stand in a histogram, and what waits for the hub is told", async () => {
  const metrics = await read();
  const verdicts = [...metrics].filter(([name]) => name.startsWith("kenpin_verdicts_total"));
  assert.equal(
    verdicts.reduce((sum, [, value]) => sum + value, 0),
    6,
  );
  assert.equal(metrics.get('kenpin_verdicts_total{camera="line",outcome="unknown",reason="frame-unreadable"}'), 1);
  assert.equal(metrics.get('kenpin_frame_seconds_count{camera="line",stage="total"}'), 6);
  assert.equal(metrics.get('kenpin_frame_seconds_bucket{le="+Inf",camera="line",stage="infer"}'), 6);
  assert.ok((metrics.get('kenpin_frame_seconds_sum{camera="line",stage="total"}') ?? 0) > 0);
  assert.equal(metrics.get("kenpin_outbox_rows"), 6);
  assert.equal(metrics.get('kenpin_frames{camera="line",fate="answered"}'), 6);
  assert.equal(metrics.get("kenpin_broker_connected"), 1);
  assert.equal(metrics.get('kenpin_drift{camera="line"}'), 0);
  assert.ok((metrics.get("kenpin_disk_room_bytes") ?? 0) > 1e6);
  assert.ok((metrics.get("process_resident_memory_bytes") ?? 0) > 1e7);
});

test("an inspector that is killed is counted, and the next one shows as running", async () => {
  process.kill(Number(agent.last("inspector-running")?.["pid"]), "SIGKILL");
  await agent.logged("inspector-running", 2);
  const metrics = await read();
  assert.equal(metrics.get("kenpin_inspector_crashes"), 1);
  assert.equal(metrics.get("kenpin_inspector_running"), 1);
});

test("a page that found its way here under a name of its own is refused, and there is nothing but metrics", async () => {
  const { hostname, port } = new URL(url);
  const status = await new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path: "/metrics", headers: { host: "evil.example" } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    sent.once("error", reject).end();
  });
  assert.equal(status, 421);
  assert.equal((await fetch(new URL("/v1/snapshot", url))).status, 404);
});

test("kenpin-agent status says what the running agent says, and the last error that it logged", async () => {
  const { code, stdout } = await runCli(["status", "--config", site.configFile, "--json"]);
  assert.equal(code, 0);
  const standing = JSON.parse(stdout);
  const running = AgentSnapshot.parse(standing.running);
  assert.equal(standing.why, null);
  assert.equal(running.verdicts.pass + running.verdicts.fail + running.verdicts.unknown, 6);
  assert.equal(running.outbox.rows, standing.backlog);
  assert.equal(running.crashes, 1);
  assert.equal(running.lastError?.event, "inspector-crashed");
  assert.equal(running.running.bundle, site.bundle.digest);
  assert.equal(running.inspector.provider, "cpu");
  assert.ok(standing.lastFails.length <= 5);
  const { stdout: text } = await runCli(["status", "--config", site.configFile]);
  assert.match(text, /^verdicts: \d+ pass, \d+ fail, \d+ unknown/m);
  assert.match(text, /^last error: .* inspector-crashed/m);
});

test("of an agent that does not run, status tells what its folder holds and says so", async () => {
  await agent.stop();
  const { code, stdout } = await runCli(["status", "--config", site.configFile, "--json"]);
  assert.equal(code, 0);
  const standing = JSON.parse(stdout);
  assert.deepEqual([standing.running, standing.why, standing.backlog], [null, "the agent does not run", 6]);
});

test("a port that is taken costs the line nothing: it is logged, and the agent inspects", async () => {
  const { port } = new URL(site.hub.url);
  const other = await openSite({ metrics: { port: Number(port) } });
  try {
    const busy = await other.startAgent();
    await busy.logged("metrics-not-served");
    await other.place("line", "frame.jpg", await drawFrame());
    await until("a verdict", () => other.inbox.verdicts.length === 1);
  } finally {
    await other.close();
  }
});

async function read(): Promise<Map<string, number>> {
  const text = await (await fetch(url)).text();
  const samples = text.split("\n").flatMap((line): [string, number][] => {
    const at = line.lastIndexOf(" ");
    return line.startsWith("#") || at < 0 ? [] : [[line.slice(0, at), Number(line.slice(at + 1))]];
  });
  return new Map(samples);
}
