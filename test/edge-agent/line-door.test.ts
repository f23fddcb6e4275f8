/** Frames that somebody sends to the agent's line door, with the real agent, inspector and broker. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Verdict } from "@kenpin/schema";
import { drawFrame } from "../support/test-bundle.ts";
import { type EdgeSite, openSite, until } from "./edge-site.ts";

const TOKEN = "a-token-of-the-line-door";

test("a frame that is pushed gets its verdict back, which is on its way to the hub too; a wrong token, camera or size gets none", async () => {
  const site = await openDoorSite();
  try {
    const agent = await site.startAgent();
    const { url } = (await agent.logged("line-door-open")) as { url: string };
    const push = (camera: string, body: Uint8Array, token = TOKEN) =>
      fetch(`${url}/v1/frames/${camera}?trigger=part-1`, { method: "POST", body, headers: { authorization: `Bearer ${token}` } });
    const answer = await push("pushed", await drawFrame());
    assert.equal(answer.status, 200);
    const verdict = Verdict.parse(((await answer.json()) as { verdict: unknown }).verdict);
    assert.deepEqual([verdict.camera, verdict.triggerId, verdict.seq], ["pushed", "part-1", 1]);
    assert.equal(typeof verdict.score, "number");
    assert.equal((await push("pushed", await drawFrame(), "a-token-of-somebody-else-x")).status, 401);
    assert.equal((await push("line", await drawFrame())).status, 404);
    const unreadable = await push("pushed", new TextEncoder().encode("no picture"));
    assert.equal(Verdict.parse(((await unreadable.json()) as { verdict: unknown }).verdict).reason, "frame-unreadable");
    await until("both at the hub", () => site.inbox.verdicts.length === 2);
    await until("the counts", () => site.inbox.statuses.at(-1)?.cameras?.some(({ name }) => name === "pushed") === true);
    assert.ok(agent.lines.every((line) => !JSON.stringify(line).includes(TOKEN)));
  } finally {
    await site.close();
  }
});

test("frames that are pushed faster than they can be looked at are refused and counted, and every one taken is answered", async () => {
  const site = await openDoorSite();
  try {
    const agent = await site.startAgent();
    const { url } = (await agent.logged("line-door-open")) as { url: string };
    const frame = await drawFrame();
    const push = async (i: number) => {
      const headers = { authorization: `Bearer ${TOKEN}` };
      const { status } = await fetch(`${url}/v1/frames/pushed?trigger=part-${i}`, { method: "POST", body: frame, headers });
      return status;
    };
    const statuses = await Promise.all(Array.from({ length: 40 }, (_, i) => push(i)));
    const taken = statuses.filter((status) => status === 200).length;
    assert.ok(taken >= 8 && taken < 40, `${taken} of 40 were taken`);
    assert.equal(statuses.filter((status) => status === 503).length, 40 - taken);
    await until("the verdicts", () => site.inbox.verdicts.length === taken);
    const said = agent.last("frames-shed");
    assert.equal(said?.["reason"], "shedFull");
    const counts = () => site.inbox.statuses.at(-1)?.cameras?.find(({ name }) => name === "pushed")?.frames;
    await until("the counts in the status", () => counts()?.answered === taken && counts()?.shedFull === 40 - taken, 60_000);
  } finally {
    await site.close();
  }
});

/** A site whose second camera is pushed to. */
async function openDoorSite(): Promise<EdgeSite> {
  const site = await openSite();
  const config = JSON.parse(await readFile(site.configFile, "utf8"));
  const tokenFile = join(site.folder, "line-door.token");
  await writeFile(tokenFile, `${TOKEN}\n`);
  config.cameras.push({ name: "pushed", part: "stripes", deadlineMs: 20_000, source: { kind: "push" } });
  await writeFile(site.configFile, JSON.stringify({ ...config, lineDoor: { port: 0, tokenFile } }));
  return site;
}
