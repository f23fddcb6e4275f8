/**
 * The factory in a box: a broker, the hub and one edge agent as processes of their own, and two cameras.
 * `line` may send frames worth learning from; `audit` never lets a picture leave, so what it plays trains nothing.
 * Everything goes through the doors a real site uses: HTTP with tokens, MQTT, a watched folder, one YAML file.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createHubClient, type HubClient } from "@kenpin/client";
import { AgentConfig, type BundleRow, KenpinError } from "@kenpin/schema";
import { LineCamera } from "./line-camera.ts";
import { FactoryProcess } from "./process.ts";

export const SITE = "demo";
export const AGENT = "edge-1";
const ROOT = resolve(import.meta.dirname, "../../..");

/** What a line engineer would type for this cloth. */
const WORDS = {
  name: "woven fabric",
  good: ["a photo of flawless woven fabric", "a close-up of even cloth without defects"],
  bad: ["a photo of woven fabric with a defect", "a close-up of damaged cloth", "fabric with a spot of a different texture"],
};

export type FactoryOptions = {
  dataDir: string;
  hubPort: number;
  /** An MQTT broker that already runs; without one, the embedded broker is started. */
  brokerUrl?: string | undefined;
  onLog?: ((name: string, line: string) => void) | undefined;
};

export type Factory = {
  hubUrl: string;
  /** Opens the page once, already signed in. */
  loginUrl: string;
  brokerUrl: string;
  hub: HubClient;
  bundle: BundleRow;
  line: LineCamera;
  audit: LineCamera;
  processes: {
    broker: FactoryProcess | null;
    hub: FactoryProcess;
    agent: FactoryProcess;
  };
  configFile: string;
  stop: () => Promise<void>;
};

/** Starts broker, hub and agent, and makes the first bundle from the words. `onStage` names what is under way. */
export async function startFactory(options: FactoryOptions, onStage: (text: string) => void = () => undefined): Promise<Factory> {
  await mkdir(options.dataDir, { recursive: true });
  const started: FactoryProcess[] = [];
  const launch = (name: string, args: string[]) => {
    const onLine = (line: string) => options.onLog?.(name, line);
    const child = new FactoryProcess({
      name,
      args,
      logFile: join(options.dataDir, `${name}.log`),
      onLine,
    });
    started.push(child);
    child.start();
    return child;
  };
  const stop = async () => {
    for (const child of started.toReversed()) await child.stop();
  };
  try {
    if (options.brokerUrl) await answers(options.brokerUrl);
    onStage("starting the broker and the hub");
    const broker = options.brokerUrl ? null : await startBroker(launch);
    const brokerUrl = options.brokerUrl ?? `mqtt://127.0.0.1:${broker?.port}`;
    const { hub, hubUrl, loginUrl, process } = await startHub(launch, options, brokerUrl);
    onStage("turning words into a signed bundle");
    const bundle = await hub.makeBundle(WORDS);
    onStage("starting the edge agent");
    const line = new LineCamera("line", join(options.dataDir, "camera-line"));
    const audit = new LineCamera("audit", join(options.dataDir, "camera-audit"));
    const configFile = await writeConfig({
      dataDir: options.dataDir,
      hub,
      hubUrl,
      brokerUrl,
      bundle,
      line,
      audit,
    });
    const agent = launch("agent", [join(ROOT, "edge-agent/src/main.ts"), "run", "--config", configFile]);
    await waitUntil(60_000, "the agent to report its bundle", async () =>
      (await hub.agents()).some((row) => row.agent === AGENT && row.reported?.state === "running"),
    );
    return {
      hubUrl,
      loginUrl,
      brokerUrl,
      hub,
      bundle,
      line,
      audit,
      configFile,
      stop,
      processes: { broker: broker?.process ?? null, hub: process, agent },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Processes wait for a broker as long as it takes; a person who mistyped its address should not. */
async function answers(brokerUrl: string): Promise<void> {
  const url = URL.parse(brokerUrl);
  if (!url || !/^mqtts?:$/.test(url.protocol)) {
    throw new KenpinError("bad-option", `--broker takes an address such as mqtt://127.0.0.1:1883, not "${brokerUrl}"`);
  }
  const port = Number(url.port || (url.protocol === "mqtts:" ? 8883 : 1883));
  const { connect } = await import("node:net");
  await new Promise<void>((resolveOpen, reject) => {
    const away = (why: string) => reject(new KenpinError("broker-away", `no broker answers at ${url.host} (${why}); is it running?`));
    const socket = connect({ host: url.hostname, port, timeout: 5000 });
    socket.once("connect", () => resolveOpen());
    socket.once("error", (error) => away(error.message));
    socket.once("timeout", () => away("no answer within 5 s"));
    socket.once("connect", () => socket.destroy());
  });
}

type Launch = (name: string, args: string[]) => FactoryProcess;

async function startBroker(launch: Launch) {
  const port = await freePort();
  // A fixed port, so that a broker that was killed comes back where its clients look for it.
  const child = launch("broker", [join(ROOT, "packages/playground/src/broker.ts"), String(port)]);
  await child.waitFor(/^listening (\d+)/, 15_000);
  return { port, process: child };
}

async function startHub(launch: Launch, options: FactoryOptions, brokerUrl: string) {
  const data = join(options.dataDir, "hub");
  const cli = join(ROOT, "cloud-trainer/src/cli.ts");
  const port = options.hubPort || (await freePort());
  const child = launch("hub", [cli, "serve", "--data", data, "--broker", brokerUrl, "--port", String(port)]);
  const hubUrl = `http://127.0.0.1:${port}`;
  await child.waitFor(/https?:\/\/[^\s"]+/, 30_000);
  const token = (await readFile(join(data, "admin.token"), "utf8")).trim();
  const hub = createHubClient({ url: hubUrl, token });
  const loginUrl = hubUrl + (await hub.loginLink()).path;
  return { hub, hubUrl, loginUrl, process: child };
}

type ConfigParts = {
  dataDir: string;
  hub: HubClient;
  hubUrl: string;
  brokerUrl: string;
  bundle: BundleRow;
  line: LineCamera;
  audit: LineCamera;
};

/** Enrols the agent, fetches its first bundle as an installer would, and writes its one configuration file (JSON is YAML). */
async function writeConfig({ dataDir, hub, hubUrl, brokerUrl, bundle, line, audit }: ConfigParts): Promise<string> {
  const enrolment = await hub.enrol({ site: SITE, agent: AGENT });
  const bundleFile = join(dataDir, "first.kenpin");
  await writeFile(
    bundleFile,
    await createHubClient({
      url: hubUrl,
      token: enrolment.token,
    }).downloadBundle(bundle.digest),
  );
  const config = AgentConfig.parse({
    site: SITE,
    line: "line-1",
    agent: AGENT,
    dataDir: join(dataDir, "agent"),
    broker: { url: brokerUrl },
    hub: { url: hubUrl, token: enrolment.token },
    rootKey: enrolment.rootKey,
    bundle: bundleFile,
    cameras: [
      {
        name: line.name,
        source: { kind: "folder", path: line.folder },
        part: "woven fabric",
        evidence: "frame",
        deadlineMs: 10_000,
      },
      {
        name: audit.name,
        source: { kind: "folder", path: audit.folder },
        part: "woven fabric",
        evidence: "none",
        deadlineMs: 10_000,
      },
    ],
    sampling: { randomRatio: 0.35, perDay: 1000 },
  });
  for (const camera of [line, audit]) await mkdir(camera.folder, { recursive: true });
  const file = join(dataDir, "agent.yaml");
  await writeFile(file, `${JSON.stringify(config, null, 2)}\n`, {
    mode: 0o600,
  });
  return file;
}

async function freePort(): Promise<number> {
  const { createServer } = await import("node:net");
  return new Promise((resolvePort, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolvePort(typeof address === "object" && address ? address.port : 0));
    });
  });
}

/** Asks every 200 ms until `done` says so; past `timeoutMs` an error names what was waited for. */
export async function waitUntil(timeoutMs: number, what: string, done: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await done())) {
    if (Date.now() > deadline)
      throw new KenpinError("waited-too-long", `waited ${Math.round(timeoutMs / 1000)} s for ${what}; the logs beside the data say more`);
    await new Promise((resume) => setTimeout(resume, 200));
  }
}
