/**
 * Broker and hub over TLS with a certificate of the site's own authority, which Node-RED is told of as Node.js programs are
 * (NODE_EXTRA_CA_CERTS); without it neither is trusted. A real Mosquitto with a login, a real hub behind a TLS proxy.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request as ask } from "node:http";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { agentTopics } from "@kenpin/schema";
import { makeVerdict, type Site, startSite, until } from "../support/hub.ts";
import { freePort, withoutMosquitto } from "../support/mosquitto.ts";
import { example, type FlowNode, idOf, type NodeRed, startNodeRed } from "./node-red.ts";

const withoutTools = ["openssl", "mosquitto_passwd", "mosquitto_pub"].find((tool) => spawnSync(tool, ["--help"]).error);
const skip = withoutMosquitto || (withoutTools ? `${withoutTools} is not installed` : false);

let folder = "";
let site: Site;
let mosquitto: ChildProcess;
let proxy: Server;
let red: NodeRed;
/** `knownUrl`: where the broker asks for its clients' certificates. */
let [brokerUrl, knownUrl, hubUrl] = ["", "", ""];

before(async () => {
  if (skip) return;
  folder = await mkdtemp(join(tmpdir(), "kenpin-tls-"));
  await makeCertificates();
  site = await startSite();
  const [port, knownPort] = [await freePort(), await freePort()];
  execFileSync("mosquitto_passwd", ["-b", "-c", join(folder, "passwords"), "node-red", "right"], { stdio: "ignore" });
  await writeFile(join(folder, "mosquitto.conf"), mosquittoConfig(port, knownPort));
  mosquitto = spawn("mosquitto", ["-c", join(folder, "mosquitto.conf")], {
    stdio: "ignore",
    env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin` },
  });
  brokerUrl = `mqtts://localhost:${port}`;
  knownUrl = `mqtts://localhost:${knownPort}`;
  hubUrl = await startProxy();
  red = await startNodeRed({ env: { NODE_EXTRA_CA_CERTS: join(folder, "ca.crt") } });
});
after(async () => {
  if (skip) return;
  await red?.stop();
  proxy?.close();
  proxy?.closeAllConnections();
  mosquitto?.kill("SIGKILL");
  await site?.stop();
  await rm(folder, { recursive: true, force: true });
});

test("verdicts come over an encrypted connection with a login; a wrong password shows as refused", { skip }, async () => {
  const flow = await verdictFlow("right");
  await red.deploy(flow);
  await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.status.connected");
  const verdict = makeVerdict({ bootId: randomUUID(), seq: 1, outcome: "fail", score: 0.7 });
  publish(agentTopics("demo", "edge-1").verdict("line"), verdict);
  assert.equal((await red.hears("failed")).payload, "line-1 / line: 1 failed, score 0.70");
  await red.deploy(await verdictFlow("wrong"));
  await red.shows(idOf(flow, "kenpin-verdict"), "kenpin.status.broker-refused");
});

test("a hub is asked over https", { skip }, async () => {
  const flow = await example("03 - label", { hub: hubUrl, hubToken: site.hub.token });
  await red.deploy(flow);
  await red.shows(idOf(flow, "kenpin-label"), "kenpin.status.connected");
});

test("without the site's authority neither is trusted, and that shows", { skip }, async () => {
  const stranger = await startNodeRed();
  try {
    const verdicts = await verdictFlow("right");
    await stranger.deploy(verdicts);
    await stranger.shows(idOf(verdicts, "kenpin-verdict"), "kenpin.status.broker-away");
    const labels = await example("03 - label", { hub: hubUrl, hubToken: site.hub.token });
    await stranger.deploy(labels);
    await stranger.shows(idOf(labels, "kenpin-label"), "kenpin.status.hub-away");
  } finally {
    await stranger.stop();
  }
});

test("a tls-config node brings the site's authority and a certificate by which the broker knows Node-RED", { skip }, async () => {
  const stranger = await startNodeRed();
  try {
    const own = (files: object): FlowNode => ({
      ...{ id: "tls0000000000001", type: "tls-config", name: "", certname: "", keyname: "", caname: "", servername: "", alpnprotocol: "" },
      ...{ verifyservercert: true, ca: join(folder, "ca.crt"), ...files },
    });
    const withTls = async (files: object) => {
      const link = { tls: "tls0000000000001", credentials: {} };
      const flow = await example("02 - verdict", { broker: knownUrl }, ({ type }) => (type === "kenpin-link" ? link : {}));
      await stranger.deploy([...flow, own(files)]);
      return idOf(flow, "kenpin-verdict");
    };
    const certificate = { cert: join(folder, "client.crt"), key: join(folder, "client.key") };
    await stranger.shows(await withTls(certificate), "kenpin.status.connected");
    await stranger.shows(await withTls({ cert: "", key: "" }), "kenpin.status.broker-away");
    await stranger.shows(await withTls({ ...certificate, verifyservercert: false }), "kenpin.status.not-set-up");
    assert.match(stranger.log(), /\[tls-unverified\]/);
  } finally {
    await stranger.stop();
  }
});

async function verdictFlow(password: string): Promise<FlowNode[]> {
  const credentials = { brokerUser: "node-red", brokerPassword: password };
  return example("02 - verdict", { broker: brokerUrl }, ({ type }) => (type === "kenpin-link" ? { credentials } : {}));
}

function publish(topic: string, payload: unknown): void {
  const login = ["-u", "node-red", "-P", "right", "--cafile", join(folder, "ca.crt")];
  execFileSync("mosquitto_pub", [...login, "-h", "localhost", "-p", new URL(brokerUrl).port, "-t", topic, "-m", JSON.stringify(payload)]);
}

function mosquittoConfig(port: number, knownPort: number): string {
  const server = [`certfile ${join(folder, "server.crt")}`, `keyfile ${join(folder, "server.key")}`];
  const login = [`listener ${port} 127.0.0.1`, ...server, `password_file ${join(folder, "passwords")}`, "allow_anonymous false"];
  const certificate = [`listener ${knownPort} 127.0.0.1`, ...server, `cafile ${join(folder, "ca.crt")}`];
  const known = [...certificate, "require_certificate true", "use_identity_as_username true", "allow_anonymous false"];
  return ["user root", "per_listener_settings true", "persistence false", ...login, ...known, ""].join("\n");
}

async function makeCertificates(): Promise<void> {
  const openssl = (args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(["req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=a factory"]);
  openssl(["req", ...key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"]);
  await writeFile(join(folder, "names"), "subjectAltName=DNS:localhost\n");
  const signed = ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
  openssl([...signed, "-extfile", "names", "-out", "server.crt"]);
  openssl(["req", ...key, "-keyout", "client.key", "-out", "client.csr", "-subj", "/CN=node-red"]);
  openssl([...signed.with(3, "client.csr"), "-out", "client.crt"]);
}

/** As a site's own web server stands in front of a hub. */
async function startProxy(): Promise<string> {
  const files = { key: readFileSync(join(folder, "server.key")), cert: readFileSync(join(folder, "server.crt")) };
  proxy = createServer(files, (request, response) => {
    const { method, url: path } = request;
    const headers = { ...request.headers, host: new URL(site.hub.url).host };
    const inner = ask(new URL(path ?? "/", site.hub.url), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    request.pipe(inner);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const address = proxy.address();
  await until(
    "mosquitto",
    () => spawnSync("openssl", ["s_client", "-connect", new URL(brokerUrl).host], { input: "", timeout: 2000 }).status === 0,
  );
  return `https://localhost:${typeof address === "object" && address ? address.port : 0}`;
}
