/** Certificates that are renewed while the agent runs: a real Mosquitto that takes only clients of its authority. */
import assert from "node:assert/strict";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connectLink, type Link } from "@kenpin/messaging";
import { pino } from "pino";
import { loadConfig } from "../../../edge-agent/src/operate/config.ts";
import { BrokerCredentials, readMaterial } from "../../../edge-agent/src/report/broker-credentials.ts";
import { type Authority, makeAuthority, withoutOpenssl } from "../../support/certificates.ts";
import { type Mosquitto, startMosquitto, withoutMosquitto } from "../../support/mosquitto.ts";
import { until } from "../edge-site.ts";

describe("on a broker that asks for certificates", { skip: withoutMosquitto || withoutOpenssl }, () => {
  let folder: string;
  let authority: Authority;
  let broker: Mosquitto;
  const open: { close: () => Promise<void> }[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "kenpin-tls-"));
    authority = makeAuthority(folder, "authority");
    const { cert, key } = authority.issue("broker");
    const lines = [
      `cafile ${authority.ca}`,
      `certfile ${cert}`,
      `keyfile ${key}`,
      "require_certificate true",
      "use_identity_as_username true",
    ];
    broker = await startMosquitto({ tls: lines.join("\n") });
  });

  after(async () => {
    for (const one of open) await one.close();
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("an agent of the broker's authority connects, one without a certificate or of another authority does not", async () => {
    const own = authority.issue("edge-1");
    const other = makeAuthority(folder, "other-authority").issue("edge-x");
    assert.equal(await connects({ ca: authority.ca, ...own }), true);
    assert.equal(await connects({ ca: authority.ca }), false);
    assert.equal(await connects({ ca: authority.ca, ...other }), false);
    assert.equal(await connects({ ...own }), false, "the system's authorities do not know this broker");
  });

  test("a certificate that is replaced while the agent runs is shown to the broker without a restart, and no will is published", async () => {
    const files = { ca: authority.ca, cert: join(folder, "in-use.crt"), key: join(folder, "in-use.key") };
    await install(authority.issue("first"), files);
    const wills: unknown[] = [];
    const watcher = await connected({ ca: authority.ca, ...authority.issue("watcher") }, "watcher");
    watcher.link.subscribe("will/+", (_topic, payload) => wills.push(payload));
    const { link, credentials, connections } = await connected(files, "renewing");
    const before = credentials.material.cert;
    await install(authority.issue("second"), files);
    await until("the next connection", () => connections() === 2 && link.connected);
    assert.notEqual(credentials.material.cert, before);
    await link.publish("a/topic", { still: "there" });
    assert.deepEqual(wills, []);
  });

  test("half of a renewal is not taken: the connection stays, and goes over once both files are there", async () => {
    const files = { ca: authority.ca, cert: join(folder, "half.crt"), key: join(folder, "half.key") };
    await install(authority.issue("third"), files);
    const { link, connections } = await connected(files, "half");
    const next = authority.issue("fourth");
    await copyFile(next.cert, files.cert);
    await sleep(400);
    assert.deepEqual([connections(), link.connected], [1, true]);
    await writeFile(files.key, "not a key at all");
    await sleep(400);
    assert.deepEqual([connections(), link.connected], [1, true]);
    await copyFile(next.key, files.key);
    await until("the next connection", () => connections() === 2 && link.connected);
  });

  test("files that are not there yet keep nothing from starting, and are used once they are", async () => {
    const files = { ca: authority.ca, cert: join(folder, "late.crt"), key: join(folder, "late.key") };
    const waiting = begin(files, "late");
    await sleep(300);
    assert.equal(waiting.link.connected, false);
    await install(authority.issue("fifth"), files);
    await until("the connection", () => waiting.link.connected);
  });

  test("a broker that comes back with a certificate of a new authority is trusted once that one is installed", async () => {
    const trusted = join(folder, "trusted.crt");
    await copyFile(authority.ca, trusted);
    const own = authority.issue("edge-2");
    const { link } = await connected({ ca: trusted, ...own }, "moving");
    const next = makeAuthority(folder, "next-authority");
    await broker.stop();
    const { cert, key } = next.issue("next-broker");
    const lines = [`cafile ${authority.ca}`, `certfile ${cert}`, `keyfile ${key}`, "require_certificate true"];
    broker = await startMosquitto({ tls: lines.join("\n"), port: Number(new URL(broker.url).port) });
    await sleep(600);
    assert.equal(link.connected, false, "nobody said that this authority may be trusted");
    await copyFile(next.ca, trusted);
    await until("the connection", () => link.connected);
  });

  type Files = ConstructorParameters<typeof BrokerCredentials>[0]["broker"];

  function begin(files: Files, clientId: string) {
    let count = 0;
    const onChange = () => link.renew();
    const credentials = new BrokerCredentials({ broker: files, onChange, log: pino({ level: "silent" }), everyMs: 50 });
    const will = { topic: `will/${clientId}`, payload: { gone: clientId } };
    const link: Link = connectLink({ url: broker.url, clientId, tls: () => credentials.material, will });
    link.onConnect(() => count++);
    credentials.start();
    open.push({
      close: async () => {
        credentials.stop();
        await link.close();
      },
    });
    return { link, credentials, connections: () => count };
  }

  async function connected(files: Files, clientId: string) {
    const begun = begin(files, clientId);
    await until(`${clientId} to connect`, () => begun.link.connected);
    return begun;
  }

  async function connects(files: Files): Promise<boolean> {
    const link = connectLink({ url: broker.url, clientId: "trying", tls: () => readMaterial(files) });
    try {
      for (let i = 0; i < 40 && !link.connected; i++) await sleep(25);
      return link.connected;
    } finally {
      await link.close();
    }
  }

  async function install(from: { cert: string; key: string }, to: { cert: string; key: string }): Promise<void> {
    await copyFile(from.cert, to.cert);
    await copyFile(from.key, to.key);
  }
});

test("the files stand in the configuration beside it, both or neither, and only where the address speaks TLS", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-tls-config-"));
  try {
    const load = async (broker: Record<string, string>) => {
      await writeFile(join(folder, "agent.yaml"), JSON.stringify({ ...CONFIG, broker }));
      return (await loadConfig(join(folder, "agent.yaml"))).broker;
    };
    const { ca, cert, key } = await load({ url: "mqtts://broker:8883", ca: "ca.crt", cert: "tls/own.crt", key: "/etc/own.key" });
    assert.deepEqual([ca, cert, key], [join(folder, "ca.crt"), join(folder, "tls/own.crt"), "/etc/own.key"]);
    await assert.rejects(load({ url: "mqtts://broker:8883", cert: "own.crt" }), /needs both cert and key/);
    await assert.rejects(load({ url: "mqtt://broker:1883", ca: "ca.crt" }), /need an mqtts: address/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

const CONFIG = {
  site: "test",
  line: "line-1",
  agent: "edge-1",
  dataDir: "data",
  hub: { url: "http://hub", token: "a-token-that-is-long-enough" },
  rootKey: "A".repeat(43),
  bundle: "first.kenpin",
  cameras: [{ name: "line", source: { kind: "folder", path: "camera" } }],
};
