/**
 * A real Node-RED without a screen, 5 or 4.1, in a user directory of its own that holds the built package as npm would install it.
 * Tests deploy flows over its admin interface, press inject nodes, and hear over its own channel what debug nodes and statuses say.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "../support/mosquitto.ts";
import { until } from "../support/hub.ts";

export type Version = "5" | "4.1";
export type FlowNode = { id: string; type: string; [property: string]: unknown };
export type Addresses = { broker?: string; hub?: string; hubToken?: string; agent?: string; agentToken?: string };
export type DebugMessage = { id: string; name: string; msg: Record<string, unknown> & { payload?: unknown } };
/** What a catch node was told. */
export function faultOf(message: DebugMessage["msg"]): string {
  return (message["error"] as { message?: string } | undefined)?.message ?? "";
}

export type NodeRed = {
  url: string;
  userDir: string;
  child: ChildProcess;
  debug: DebugMessage[];
  statuses: Map<string, { text?: string; fill?: string }>;
  log: () => string;
  deploy: (flow: FlowNode[], type?: "full" | "nodes") => Promise<void>;
  inject: (id: string) => Promise<void>;
  /** What a debug node of this name has said, once it has said so much. */
  said: (name: string, times?: number, timeoutMs?: number) => Promise<DebugMessage[]>;
  /** The nth message of a debug node of this name. */
  hears: (name: string, nth?: number) => Promise<DebugMessage["msg"]>;
  shows: (id: string, text: string | RegExp, timeoutMs?: number) => Promise<void>;
  stop: () => Promise<void>;
};

const ROOT = resolve(import.meta.dirname, "../..");
export const PACKAGE = join(ROOT, "node-red-nodes");
const require = createRequire(import.meta.url);
const SCRIPT = { "5": "node-red", "4.1": "node-red-4" };
const FLAGS = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
let built = false;

export function buildNodes(): void {
  if (!built) execFileSync(process.execPath, [...FLAGS, join(PACKAGE, "build.ts")], { stdio: "inherit" });
  built = true;
}

export async function startNodeRed({ version = "5" as Version, settings = "", env = {}, installed = PACKAGE } = {}): Promise<NodeRed> {
  const userDir = await mkdtemp(join(tmpdir(), "kenpin-nodered-"));
  if (installed === PACKAGE) buildNodes();
  await placePackage(installed, userDir);
  const port = await freePort();
  const file = join(userDir, "settings.js");
  await writeFile(file, SETTINGS(port, userDir, settings));
  const script = require.resolve(`${SCRIPT[version]}/red.js`);
  const child = spawn(process.execPath, ["--expose-gc", script, "--userDir", userDir, "--settings", file], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env, NODE_OPTIONS: "" },
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      text += chunk;
    });
  }
  const url = `http://127.0.0.1:${port}`;
  await until("Node-RED to start", () => {
    if (child.exitCode !== null) throw new Error(`Node-RED ended: ${text}`);
    return text.includes("Started flows");
  });
  const debug: DebugMessage[] = [];
  const statuses: NodeRed["statuses"] = new Map();
  const comms = await listen(`ws://127.0.0.1:${port}/comms`, debug, statuses);
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const init = { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
    const response = await fetch(url + path, init);
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  };
  const said: NodeRed["said"] = async (name, times = 1, timeoutMs = 15_000) => {
    const all = () => debug.filter((one) => one.name === name);
    await until(`${name} to be said ${times} times`, () => all().length >= times, timeoutMs).catch((error: Error) => {
      throw new Error(`${error.message}; the last words were ${JSON.stringify(debug.slice(-3))}`);
    });
    return all();
  };
  return {
    url,
    userDir,
    child,
    debug,
    statuses,
    log: () => text,
    deploy: async (flow, type = "full") => {
      statuses.clear(); // what a node showed before says nothing of the one that takes its place
      const before = text.length;
      await post("/flows", flow, { "node-red-deployment-type": type });
      const started = () => /Started (modified )?(flows|nodes)/.test(text.slice(before));
      await until("the flows to start", started).catch((error: Error) => {
        throw new Error(`${error.message}, after ${text.slice(before)}`);
      });
    },
    inject: (id) => post(`/inject/${id}`, {}),
    said,
    hears: async (name, nth = 1) => ((await said(name, nth))[nth - 1] as DebugMessage).msg,
    shows: async (id, wanted, timeoutMs = 60_000) => {
      const isShown = (shown = "") => (typeof wanted === "string" ? shown === wanted : wanted.test(shown));
      await until(`${id} to show ${wanted}`, () => isShown(statuses.get(id)?.text), timeoutMs).catch((error: Error) => {
        throw new Error(`${error.message}; it shows ${statuses.get(id)?.text}`);
      });
    },
    stop: async () => {
      comms.close();
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
      await rm(userDir, { recursive: true, force: true });
    },
  };
}

/** A flow as it is shipped, with its link filled in as its comment asks. */
export async function example(name: string, addresses: Addresses, change: (node: FlowNode) => object = () => ({})): Promise<FlowNode[]> {
  const flow = JSON.parse(await readFile(join(PACKAGE, "examples", `${name}.json`), "utf8")) as FlowNode[];
  return flow.map((node) => ({ ...node, ...(node.type === "kenpin-link" && filled(addresses)), ...change(node) }));
}

export function filled({ broker = "", hub = "", hubToken = "", agent = "", agentToken = "" }: Addresses): object {
  return { broker, hub, agent, credentials: { hubToken, agentToken, brokerUser: "", brokerPassword: "" } };
}

/** The id of the node of a flow that has this name, or type. */
export function idOf(flow: FlowNode[], wanted: string): string {
  const found = flow.find(({ name }) => name === wanted) ?? flow.find(({ type }) => type === wanted);
  if (!found) throw new Error(`the flow has no node ${wanted}`);
  return found.id;
}

/** As npm leaves a package: its files, and its name in the user directory's own list. */
async function placePackage(from: string, userDir: string): Promise<void> {
  const place = join(userDir, "node_modules/@kenpin/node-red-nodes");
  await mkdir(place, { recursive: true });
  for (const name of ["package.json", "dist", "examples"]) cpSync(join(from, name), join(place, name), { recursive: true });
  await writeFile(join(userDir, "package.json"), JSON.stringify({ name: "test", dependencies: { "@kenpin/node-red-nodes": "0.1.0" } }));
}

const SETTINGS = (port: number, userDir: string, more: string) => `
const { monitorEventLoopDelay } = require("node:perf_hooks");
module.exports = {
  uiPort: ${port}, uiHost: "127.0.0.1", flowFile: "flows.json", credentialSecret: "a secret of the tests",
  fileWorkingDirectory: ${JSON.stringify(userDir)}, debugMaxLength: 10000000, telemetry: { enabled: false, updateNotification: false },
  editorTheme: { tours: false }, logging: { console: { level: "info" } },
  functionGlobalContext: { process, monitorEventLoopDelay, gc }, ${more}
};
`;

/** The editor's own channel: what debug nodes say, and each node's status. */
async function listen(url: string, debug: DebugMessage[], statuses: NodeRed["statuses"]): Promise<WebSocket> {
  const socket = new WebSocket(url);
  await once(socket, "open");
  for (const topic of ["debug", "status/#"]) socket.send(JSON.stringify({ subscribe: topic }));
  socket.addEventListener("message", ({ data }) => {
    const said = JSON.parse(String(data)) as { topic: string; data: never }[] | { topic: string; data: never };
    for (const { topic, data: body } of [said].flat()) {
      if (topic === "debug") debug.push(debugMessage(body));
      else if (topic?.startsWith("status/")) statuses.set(topic.slice("status/".length), body);
    }
  });
  return socket;
}

function debugMessage({ id, name = "", msg, format }: { id: string; name?: string; msg: string; format: string }): DebugMessage {
  const value: unknown = /^(object|error|array)/i.test(format) ? JSON.parse(msg) : msg;
  return { id, name, msg: (typeof value === "object" && value !== null ? value : { payload: value }) as DebugMessage["msg"] };
}
