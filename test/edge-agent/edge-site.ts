/**
 * A small site for the agent's tests: a real broker and a real agent, each a process of its own, an HTTP server that takes
 * pictures and serves bundles, and a listener in the hub's place that collects what arrives and acknowledges it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { connectLink, ContiguousFront, type Link } from "@kenpin/messaging";
import { type AgentConfig, agentTopics, AgentStatus, BundleReported, hubFilters, parseTopic, Reply, Sample, Verdict } from "@kenpin/schema";
import { freePort } from "../support/mosquitto.ts";
import { type TestBundle, testBundle } from "../support/test-bundle.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const FLAGS = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
const MAIN = join(ROOT, "edge-agent/src/main.ts");
export const TOKEN = "a-token-of-the-test-agent";

export type CameraOptions = { name: string; evidence?: "none" | "region" | "frame"; deadlineMs?: number; part?: string };
export type SiteOptions = {
  cameras?: CameraOptions[];
  bundle?: TestBundle;
  sampling?: Partial<AgentConfig["sampling"]>;
  /** Whether the hub acknowledges; it may begin later with `inbox.acknowledge()`. */
  acknowledges?: boolean;
  /** No page unless asked for, so that agents side by side do not want the same port. */
  page?: false | { port: number; pictures?: string };
  localSettings?: boolean;
  record?: Partial<AgentConfig["record"]>;
  metrics?: false | { port: number };
};

export type EdgeSite = Awaited<ReturnType<typeof openSite>>;

export async function openSite({
  cameras = [{ name: "line" }],
  bundle,
  sampling,
  acknowledges = true,
  page = false,
  localSettings = true,
  record = {},
  metrics = false,
}: SiteOptions = {}) {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-edge-"));
  const first = bundle ?? (await testBundle());
  const broker = await startBroker();
  const hub = await startHub();
  const config = {
    site: "test",
    line: "line-1",
    agent: "edge-1",
    dataDir: join(folder, "data"),
    broker: { url: broker.url },
    hub: { url: hub.url, token: TOKEN },
    rootKey: first.signer.rootKey,
    bundle: first.file,
    cameras: cameras.map((camera) => ({
      deadlineMs: 20_000,
      part: "stripes",
      ...camera,
      source: { kind: "folder", path: join(folder, `camera-${camera.name}`) },
    })),
    sampling: { randomRatio: 0, undecided: false, surprising: false, drifting: false, ...sampling },
    threads: 1,
    page,
    localSettings,
    record,
    metrics,
  };
  const configFile = join(folder, "agent.yaml");
  await writeFile(configFile, JSON.stringify(config));
  for (const camera of config.cameras) await mkdir(camera.source.path, { recursive: true });
  const inbox = new Inbox(broker.url, acknowledges);
  const agents: AgentProcess[] = [];
  return {
    folder,
    config,
    configFile,
    broker,
    hub,
    inbox,
    bundle: first,
    /** Starts the agent; resolves once it inspects and is online. */
    startAgent: async () => {
      const known = new Set(inbox.statuses.map(({ bootId }) => bootId));
      const agent = new AgentProcess(configFile);
      agents.push(agent);
      await agent.logged("agent-running");
      await until("a new boot online", () => inbox.statuses.some(({ bootId, state }) => state === "online" && !known.has(bootId)));
      return agent;
    },
    /** Renames a frame into a camera's folder, as cameras do. */
    place: async (camera: string, name: string, bytes: Uint8Array, changedAt?: Date) => {
      const path = join(folder, `camera-${camera}`);
      await writeFile(join(path, `.${name}.part`), bytes);
      if (changedAt) await utimes(join(path, `.${name}.part`), changedAt, changedAt);
      await rename(join(path, `.${name}.part`), join(path, name));
    },
    framesLeft: async (camera: string) => (await readdir(join(folder, `camera-${camera}`))).length,
    close: async () => {
      for (const agent of agents) await agent.stop();
      await inbox.close();
      await broker.stop();
      hub.server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What the hub's end of the broker got. */
export class Inbox {
  readonly verdicts: Verdict[] = [];
  readonly samples: Sample[] = [];
  readonly statuses: AgentStatus[] = [];
  readonly reported: BundleReported[] = [];
  readonly replies: Reply[] = [];
  readonly link: Link;
  /** How often each (boot, seq) came. */
  readonly times = new Map<string, number>();
  #fronts = new Map<string, ContiguousFront>();
  #acknowledges: boolean;
  readonly topics = agentTopics("test", "edge-1");

  constructor(url: string, acknowledges: boolean) {
    this.#acknowledges = acknowledges;
    this.link = connectLink({ url, clientId: "test-hub" });
    for (const filter of hubFilters()) this.link.subscribe(filter, (topic, payload) => this.#take(topic, payload));
  }

  /** One verdict a trigger, however often it was sent. */
  byTrigger(): Map<string, Verdict> {
    return new Map(this.verdicts.map((verdict) => [verdict.triggerId ?? "", verdict]));
  }

  /** From now on everything committed is acknowledged. */
  acknowledge(): void {
    this.#acknowledges = true;
    this.#sendAck();
  }

  async close(): Promise<void> {
    await this.link.close();
  }

  #take(topic: string, payload: unknown): void {
    const kind = parseTopic(topic)?.kind;
    if (kind === "status") this.statuses.push(AgentStatus.parse(payload));
    if (kind === "bundle") this.reported.push(BundleReported.parse(payload));
    if (kind === "reply") this.replies.push(Reply.parse(payload));
    if (kind === "verdict") this.#keep(Verdict.parse(payload), this.verdicts);
    if (kind === "sample") this.#keep(Sample.parse(payload), this.samples);
  }

  #keep<T extends { id: string; bootId: string; seq: number }>(message: T, list: T[]): void {
    const key = `${message.bootId} ${message.seq}`;
    this.times.set(key, (this.times.get(key) ?? 0) + 1);
    if (!list.some(({ id }) => id === message.id)) list.push(message);
    const front = this.#fronts.get(message.bootId) ?? new ContiguousFront();
    this.#fronts.delete(message.bootId); // the boot heard last stands last
    this.#fronts.set(message.bootId, front);
    front.add(message.seq);
    if (this.#acknowledges) this.#sendAck();
  }

  #sendAck(): void {
    const lately = [...this.#fronts].slice(-64);
    const boots = lately.map(([bootId, front]) => ({ bootId, seq: front.reached }));
    void this.link.publish(this.topics.ack, { schemaVersion: 1, boots }, { retain: true }).catch(() => undefined);
  }
}

export class AgentProcess {
  readonly lines: Record<string, unknown>[] = [];
  #child: ChildProcess;
  #ended: Promise<unknown>;

  constructor(configFile: string) {
    this.#child = spawn(process.execPath, [...FLAGS, MAIN, "run", "--config", configFile], { stdio: ["ignore", "pipe", "inherit"] });
    this.#ended = once(this.#child, "exit");
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on("line", (line) => this.lines.push(JSON.parse(line)));
  }

  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** The last line logged under this name. */
  last(event: string): Record<string, unknown> | undefined {
    return this.lines.findLast((line) => line["msg"] === event);
  }

  async logged(event: string, times = 1): Promise<Record<string, unknown>> {
    await until(`the agent to log ${event}`, () => this.lines.filter((line) => line["msg"] === event).length >= times);
    return this.last(event) as Record<string, unknown>;
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill("SIGTERM");
  }
}

/** Runs the agent's CLI to its end. */
export async function runCli(args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [...FLAGS, MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

export async function until(what: string, done: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s for ${what}`);
    await sleep(20);
  }
}

/** The playground's broker on a fixed port, so that it comes back where its clients look for it. */
export async function startBroker() {
  const port = await freePort();
  let child: ChildProcess;
  const start = async () => {
    child = spawn(process.execPath, [...FLAGS, join(ROOT, "packages/playground/src/broker.ts"), String(port)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(child.stdout as NodeJS.ReadableStream, "data");
  };
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  await start();
  return { url: `mqtt://127.0.0.1:${port}`, start, stop };
}

/** Takes PUT /v1/blobs/<sha256> and serves GET /v1/bundles/<digest>, with the token only. */
async function startHub() {
  const blobs = new Map<string, { bytes: Buffer; type: string; times: number }>();
  const bundles = new Map<string, TestBundle>();
  const state = { answer: 0 };
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const name = request.url?.split("/").at(-1) ?? "";
      if (request.headers.authorization !== `Bearer ${TOKEN}`) response.writeHead(401).end();
      else if (state.answer !== 0) response.writeHead(state.answer).end();
      else if (request.method === "PUT") {
        const before = blobs.get(name);
        blobs.set(name, { bytes: Buffer.concat(chunks), type: String(request.headers["content-type"]), times: (before?.times ?? 0) + 1 });
        response.writeHead(before ? 200 : 201).end();
      } else {
        const bundle = bundles.get(name);
        response.writeHead(bundle ? 200 : 404).end(bundle && readFileSync(bundle.file));
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  return { url, server, blobs, bundles, state };
}
