/** A station of the line with the real agent, inspector, PLC server and cameras over HTTP. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { signCommand } from "@kenpin/bundle";
import { type Command, StationAnswer, StationState, type Verdict } from "@kenpin/schema";
import { databaseFile, openForReading } from "../../edge-agent/src/database.ts";
import { PLC_MAP, type Plc, startPlc } from "../support/plc.ts";
import { drawFrame } from "../support/test-bundle.ts";
import { type AgentProcess, type EdgeSite, openSite, until } from "./edge-site.ts";

const TOKEN = "a-token-of-the-line-door";
const RANK = { pass: 0, unknown: 1, fail: 2 };
const CODE = { pass: 1, fail: 2, unknown: 3 };

test("the PLC's trigger is answered by the worst of two cameras, and each camera's verdict is recorded under its id", async (t) => {
  await withStation(["top", "side"], async ({ site, plc }) => {
    const took: number[] = [];
    const ids = Array.from({ length: 10 }, (_, i) => 17 + i);
    for (const id of ids) {
      const written = new Promise<void>((resolve) => plc.onWrite(() => plc.output().id === id && resolve()));
      const from = performance.now();
      plc.trigger(id);
      await written;
      took.push(performance.now() - from);
      await until("both verdicts", () => site.inbox.verdicts.filter(({ triggerId }) => triggerId === `press-${id}`).length === 2);
      const verdicts = site.inbox.verdicts.filter(({ triggerId }) => triggerId === `press-${id}`);
      const worst = verdicts.map(({ outcome }) => outcome).reduce((a, b) => (RANK[b] > RANK[a] ? b : a));
      assert.equal(plc.output().result, CODE[worst]);
      assert.ok(verdicts.every(({ score }) => score !== null));
    }
    const sum = ({ ms: { decode, preprocess, infer } }: Verdict) => decode + preprocess + infer;
    const looked = site.inbox.verdicts.map(sum).sort((a, b) => a - b);
    took.sort((a, b) => a - b);
    t.diagnostic(
      `trigger to result: median ${took[5]?.toFixed(1)} ms, longest ${took.at(-1)?.toFixed(1)} ms; one look ${looked[10]?.toFixed(1)} ms`,
    );
    assert.equal(site.inbox.verdicts.length, 2 * ids.length); // no picture that nobody asked for
  });
});

test("the line has its result before the verdict is written down", async () => {
  await withStation(["top"], async ({ site, plc }) => {
    const db = openForReading(databaseFile(site.config.dataDir));
    const written = db.prepare("SELECT count(*) FROM outbox WHERE json_extract(payload, '$.triggerId') = 'press-5'").pluck();
    const seen: number[] = [];
    plc.onWrite(() => {
      if (plc.output().id === 5 && seen.length === 0) seen.push(written.get() as number);
    });
    plc.trigger(5);
    await until("its verdict at the hub", () => site.inbox.verdicts.some(({ triggerId }) => triggerId === "press-5"));
    db.close();
    assert.deepEqual(seen, [0]);
  });
});

test("a part is unknown by its deadline when a camera gives no picture, and so is that camera's verdict", async () => {
  await withStation(["top", "side"], async ({ site, plc, cameras }) => {
    cameras.answers.delete("side");
    plc.trigger(7);
    await until("the result", () => plc.output().id === 7);
    assert.notEqual(plc.output().result, CODE.pass);
    await until("both verdicts", () => site.inbox.verdicts.length === 2);
    const side = site.inbox.verdicts.find(({ camera }) => camera === "side");
    assert.deepEqual([side?.outcome, side?.reason], ["unknown", "frame-missing"]);
  });
});

test("the line sees NOT READY when the inspector hangs, a camera goes away or the agent dies, and READY when they are back", async (t) => {
  await withStation(["top", "side"], async ({ plc, agent, cameras }) => {
    const pid = Number(agent.last("inspector-running")?.["pid"]);
    const took = async (what: string, done: () => boolean) => {
      const from = performance.now();
      await until(what, done);
      t.diagnostic(`${what}: ${Math.round(performance.now() - from)} ms`);
    };
    process.kill(pid, "SIGSTOP");
    await took("NOT READY, the inspector hangs", () => plc.output().ready === 0);
    process.kill(pid, "SIGCONT");
    await until("READY", () => plc.output().ready === 1);
    cameras.answers.delete("top");
    await took("NOT READY, a camera is away", () => plc.output().ready === 0);
    cameras.answers.add("top");
    await until("READY", () => plc.output().ready === 1);
    const { heartbeat } = plc.output();
    await until("a beat", () => plc.output().heartbeat !== heartbeat);
    await agent.kill();
    await sleep(200);
    const last = plc.output().heartbeat;
    await sleep(1000);
    assert.equal(plc.output().heartbeat, last); // what a dead agent can say
  });
});

test("a trigger over HTTP is answered with what the line is told, and a paused camera ends READY", async () => {
  await withStation(["top", "side"], async ({ site, agent }) => {
    const { url } = (await agent.logged("line-door-open")) as { url: string };
    const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
    const trigger = (body: object) => fetch(`${url}/v1/trigger`, { method: "POST", headers, body: JSON.stringify(body) });
    const answered = await trigger({ station: "press", trigger: "part 4711" });
    assert.equal(answered.status, 200);
    const { triggerId, outcome, late, cameras } = StationAnswer.parse(await answered.json());
    assert.deepEqual([triggerId, late, cameras.map(({ camera }) => camera)], ["part 4711", false, ["top", "side"]]);
    await until("both verdicts", () => site.inbox.verdicts.length === 2);
    assert.ok(site.inbox.verdicts.some((verdict) => verdict.outcome === outcome));
    assert.equal((await trigger({ station: "elsewhere" })).status, 404);
    assert.equal((await trigger({ station: "press", trigger: "x".repeat(201) })).status, 400);
    assert.equal((await fetch(`${url}/v1/stations`)).status, 401);
    const [state] = StationState.array().parse(await (await fetch(`${url}/v1/stations`, { headers })).json());
    assert.deepEqual([state?.station, state?.ready, state?.faults], ["press", true, []]);
  });
});

test("a signed command over MQTT triggers the station that its camera stands at", async () => {
  await withStation(["top", "side"], async ({ site }) => {
    const send = async (camera: string) => {
      const [id, expiresAt] = [randomUUID(), new Date(Date.now() + 60_000).toISOString()];
      const command: Command = { name: "trigger", id, site: "test", agent: "edge-1", expiresAt, camera, trigger: "by-command" };
      const jws = await signCommand(site.bundle.signer.signing, command);
      const { topics, link } = site.inbox;
      await link.publish(topics.command("trigger"), { jws, replyTo: topics.reply(id), correlationId: id, expiresAt });
    };
    await send("side");
    await until("both verdicts", () => site.inbox.verdicts.length === 2);
    assert.ok(site.inbox.verdicts.every(({ triggerId }) => triggerId === "by-command"));
    await send("nowhere");
    await until("the refusal", () => site.inbox.replies.at(-1)?.state === "refused");
    assert.match(site.inbox.replies.at(-1)?.message ?? "", /camera-not-asked/);
  });
});

type Cameras = Awaited<ReturnType<typeof startCameras>>;
type Parts = { site: EdgeSite; plc: Plc; agent: AgentProcess; cameras: Cameras };

/** A site whose cameras are asked over HTTP, and only when a part is there. */
async function withStation(names: string[], work: (parts: Parts) => Promise<void>): Promise<void> {
  const [site, plc, cameras] = await Promise.all([openSite(), startPlc(), startCameras(names)]);
  try {
    const config = JSON.parse(await readFile(site.configFile, "utf8"));
    const tokenFile = join(site.folder, "line-door.token");
    await writeFile(tokenFile, TOKEN);
    const of = (name: string) => ({
      name,
      part: "stripes",
      deadlineMs: 3000,
      triggered: true,
      source: { kind: "snapshot", url: `${cameras.url}/${name}`, intervalMs: 100, timeoutMs: 500 },
      staleMs: 500,
    });
    const modbus = { host: "127.0.0.1", port: plc.port, trigger: PLC_MAP.trigger, output: PLC_MAP.output, pollMs: 10 };
    const stations = [{ name: "press", cameras: names, modbus }];
    await writeFile(site.configFile, JSON.stringify({ ...config, cameras: names.map(of), stations, lineDoor: { port: 0, tokenFile } }));
    const agent = await site.startAgent();
    await until("READY", () => plc.output().ready === 1);
    await work({ site, plc, agent, cameras });
  } finally {
    await site.close();
    await plc.stop();
    cameras.close();
  }
}

/** Cameras that draw a new picture each time, as long as they answer at all. */
async function startCameras(names: string[]) {
  const answers = new Set(names);
  const server = createServer(async (request, response) => {
    if (answers.has(request.url?.slice(1) ?? "")) response.end(await drawFrame());
    else response.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    answers,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
