/** Starting and stopping `kenpin serve` as an operator does, and what it says when something is in the way. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { end, spawnHub, startHub, startSite, type Site } from "../../support/hub.ts";
import { freePort } from "../../support/mosquitto.ts";

let site: Site;
before(async () => {
  site = await startSite();
});
after(() => site.stop());

test("a taken port ends the start with one clear line", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-serve-"));
  const { code, log } = await failing(folder, Number(new URL(site.hub.url).port));
  assert.equal(code, 1);
  assert.match(lastLine(log), /^kenpin: port \d+ of 127\.0\.0\.1 is taken; .*\[port-taken\]$/);
  await rm(folder, { recursive: true });
});

test("a data folder that cannot be used ends the start with one clear line", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-serve-"));
  const file = join(folder, "file");
  await writeFile(file, "");
  for (const unusable of [join(file, "hub"), "/proc/nowhere/hub"]) {
    const { code, log } = await failing(unusable, await freePort());
    assert.equal(code, 1);
    assert.match(lastLine(log), /^kenpin: the data folder .*\[data-folder-unusable\]$/);
  }
  await rm(folder, { recursive: true });
});

test("a second hub on the same data folder is refused, and the first goes on", async () => {
  const { code, log } = await failing(site.dataDir, await freePort());
  assert.equal(code, 1);
  assert.match(lastLine(log), /^kenpin: another hub uses .*\[data-folder-in-use\]$/);
  assert.deepEqual(await site.hub.client.agents(), []);
});

test("with the broker away the hub still serves, says so, and SIGTERM ends it well", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-serve-"));
  const hub = await startHub(folder, `mqtt://127.0.0.1:${await freePort()}`, await freePort());
  assert.deepEqual(await hub.client.agents(), []);
  const summary = await fetch(`${hub.url}/v1/summary`, { headers: { authorization: `Bearer ${hub.token}` } });
  assert.equal(((await summary.json()) as { broker: string }).broker, "away");
  await hub.client.enrol({ site: "demo", agent: "edge-1" });
  await assert.rejects(hub.client.command("demo", "edge-1", { name: "pause", camera: "line" }), { code: "broker-away" });
  assert.equal(await end(hub.child, "SIGTERM"), 0);
  await rm(folder, { recursive: true });
});

test("SIGTERM ends a hub while a page listens to its events", async () => {
  const events = await fetch(`${site.hub.url}/v1/events`, { headers: { authorization: `Bearer ${site.hub.token}` } });
  assert.match(events.headers.get("content-type") ?? "", /event-stream/);
  const reading = (async () => {
    for await (const _chunk of events.body ?? []);
  })().catch(() => undefined);
  assert.equal(await end(site.hub.child, "SIGTERM"), 0);
  await reading;
  await site.restartHub("SIGTERM");
});

async function failing(folder: string, port: number): Promise<{ code: number | null; log: string }> {
  const { child, log } = spawnHub(folder, site.brokerUrl, port);
  const code = await new Promise<number | null>((done) => child.once("close", done));
  return { code, log: log() };
}

function lastLine(log: string): string {
  return log.trim().split("\n").at(-1) ?? "";
}
