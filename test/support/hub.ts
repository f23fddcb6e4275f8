/**
 * A real broker and a real hub as processes of their own, and a link that speaks as an agent does. What a test needs of
 * the agent is only what it says; the agent itself has its own tests.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createHubClient, type HubClient } from "@kenpin/client";
import { connectLink, type Link } from "@kenpin/messaging";
import { Ack, agentTopics, type Sample, type Verdict } from "@kenpin/schema";
import sharp from "sharp";
import { freePort } from "./mosquitto.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const FLAGS = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
const CLI = join(ROOT, "cloud-trainer/src/cli.ts");

export type HubProcess = { url: string; token: string; client: HubClient; child: ChildProcess; log: () => string };
export type Site = {
  dataDir: string;
  brokerUrl: string;
  hub: HubProcess;
  restartHub: (signal: NodeJS.Signals) => Promise<void>;
  stop: () => Promise<void>;
};

/** Broker and hub on free ports; everything is gone after `stop`. */
export async function startSite(): Promise<Site> {
  const dataDir = await mkdtemp(join(tmpdir(), "kenpin-hub-"));
  const broker = await startBroker();
  const port = await freePort();
  const site: Site = {
    dataDir,
    brokerUrl: broker.url,
    hub: await startHub(dataDir, broker.url, port),
    restartHub: async (signal) => {
      await end(site.hub.child, signal);
      site.hub = await startHub(dataDir, broker.url, port);
      await untilListening(site.hub);
    },
    stop: async () => {
      await end(site.hub.child, "SIGTERM");
      await end(broker.child, "SIGKILL");
      await rm(dataDir, { recursive: true, force: true });
    },
  };
  await untilListening(site.hub);
  return site;
}

/** A hub answers before its broker does; what is said before that is lost on an agent without an outbox. */
async function untilListening({ url, token }: HubProcess): Promise<void> {
  await until("the hub to reach its broker", async () => {
    const response = await fetch(`${url}/v1/summary`, { headers: { authorization: `Bearer ${token}` } });
    return ((await response.json()) as { broker: string }).broker === "connected";
  });
}

export async function startBroker(): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, [...FLAGS, join(ROOT, "packages/playground/src/broker.ts"), "0"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const line = await firstLine(child, /listening (\d+)/);
  return { url: `mqtt://127.0.0.1:${line[1]}`, child };
}

export async function startHub(dataDir: string, brokerUrl: string, port: number): Promise<HubProcess> {
  const { child, log } = spawnHub(dataDir, brokerUrl, port);
  const [url] = await firstLine(child, /http:\/\/\S+/);
  const token = (await readFile(join(dataDir, "admin.token"), "utf8")).trim();
  return { url, token, client: createHubClient({ url, token }), child, log };
}

export function spawnHub(dataDir: string, brokerUrl: string, port: number): { child: ChildProcess; log: () => string } {
  const args = ["serve", "--data", dataDir, "--broker", brokerUrl, "--port", String(port)];
  const child = spawn(process.execPath, [...FLAGS, CLI, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  child.stderr?.on("data", (chunk) => {
    text += chunk;
  });
  return { child, log: () => text };
}

export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const gone = new Promise((done) => child.once("exit", done));
    child.kill(signal);
    await gone;
  }
  return child.exitCode;
}

function firstLine(child: ChildProcess, pattern: RegExp): Promise<RegExpMatchArray> {
  return new Promise((found, failed) => {
    let text = "";
    child.stdout?.on("data", (chunk) => {
      text += chunk;
      const match = text.match(pattern);
      if (match) found(match);
    });
    child.once("exit", (code) => failed(new Error(`the process ended with ${code} before it was ready`)));
  });
}

export type SpeakingAgent = {
  token: string;
  rootKey: string;
  link: Link;
  bootId: string;
  acked: (boot?: string) => number;
  close: () => Promise<void>;
};

/** Enrols an agent and connects a link that listens to its acknowledgements. */
export async function speakAs(site: Site, name: string, siteName = "demo"): Promise<SpeakingAgent> {
  const { token, rootKey } = await site.hub.client.enrol({ site: siteName, agent: name });
  const bootId = randomUUID();
  const fronts = new Map<string, number>();
  const link = connectLink({ url: site.brokerUrl, clientId: `test-${randomUUID().slice(0, 8)}` });
  link.subscribe(agentTopics(siteName, name).ack, (_topic, payload) => {
    for (const boot of Ack.parse(payload).boots) fronts.set(boot.bootId, boot.seq);
  });
  await until("the link to connect", () => link.connected);
  return { token, rootKey, link, bootId, acked: (boot = bootId) => fronts.get(boot) ?? 0, close: link.close };
}

export async function until(what: string, done: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await sleep(25);
  }
}

export function makeVerdict(part: Partial<Verdict> & Pick<Verdict, "bootId" | "seq">): Verdict {
  return {
    schemaVersion: 1,
    id: randomUUID(),
    site: "demo",
    line: "line-1",
    agent: "edge-1",
    camera: "line",
    capturedAt: new Date().toISOString(),
    frame: { sha256: createHash("sha256").update(randomUUID()).digest("hex"), width: 320, height: 240 },
    outcome: "pass",
    mode: "live",
    score: 0.12,
    threshold: 0.5,
    predictionSet: ["good"],
    coverage: null,
    regions: [],
    bundle: "a".repeat(64),
    settings: "b".repeat(64),
    precision: "fp32",
    provider: "cpu",
    deadlineMs: 2000,
    deadlineMissed: false,
    ms: { decode: 3, preprocess: 4, infer: 20, decide: 1, total: 30 },
    ...part,
  };
}

export function makeSample(verdict: Verdict, seq: number, frame: Sample["frame"], map?: Sample["map"]): Sample {
  const { site, agent, camera, bootId, capturedAt } = verdict;
  const place = { site, agent, camera, bootId, capturedAt, seq };
  const drawn = { reason: "random", drawProbability: 0.35, evidence: "frame" } as const;
  return { schemaVersion: 1, id: randomUUID(), verdictId: verdict.id, ...place, ...drawn, frame, ...(map && { map }) };
}

export type Picture = { bytes: Uint8Array<ArrayBuffer>; sha256: string; ref: { sha256: string; bytes: number; type: "image/png" } };

/** A small picture whose bytes differ by `shade`. */
export async function makePicture(shade: number, { width = 64, height = 48 } = {}): Promise<Picture> {
  const background = { r: shade % 256, g: (shade * 7) % 256, b: 90 };
  const bytes = new Uint8Array(
    await sharp({ create: { width, height, channels: 3, background } })
      .png()
      .toBuffer(),
  );
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { bytes, sha256, ref: { sha256, bytes: bytes.length, type: "image/png" } };
}

export function putBlob(hub: { url: string }, token: string, sha256: string, body: Uint8Array<ArrayBuffer> | string): Promise<Response> {
  return fetch(`${hub.url}/v1/blobs/${sha256}`, { method: "PUT", headers: { authorization: `Bearer ${token}` }, body });
}
