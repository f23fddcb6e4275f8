/**
 * One link on two real brokers: the playground's (aedes, MQTT 3.1.1) and Mosquitto (MQTT 5). Clients and brokers are killed
 * as power cuts do it.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connectLink, type Link, type LinkOptions, PAYLOAD_LIMIT_BYTES } from "@kenpin/messaging";
import { KenpinError } from "@kenpin/schema";
import { startBroker } from "../edge-agent/edge-site.ts";
import { until } from "../support/hub.ts";
import { startMosquitto, withoutMosquitto } from "../support/mosquitto.ts";
import { publishRaw } from "./raw-publish.ts";

type Broker = { url: string; start: () => Promise<void>; kill: () => Promise<void>; stop: () => Promise<void> };
type Kind = { name: string; speaks: string; skip: string | false; open: () => Promise<Broker> };

const KINDS: Kind[] = [
  {
    name: "the playground's broker",
    speaks: "MQTT 3.1.1",
    skip: false,
    open: async () => {
      const broker = await startBroker();
      return { ...broker, kill: broker.stop };
    },
  },
  { name: "Mosquitto", speaks: "MQTT 5", skip: withoutMosquitto, open: startMosquitto },
];

for (const { name, speaks, skip, open } of KINDS) {
  describe(`on ${name}`, { skip }, () => {
    let broker: Broker;
    const links: Link[] = [];
    before(async () => {
      broker = await open();
    });
    after(async () => {
      for (const link of links) await link.close();
      await broker.stop();
    });

    async function connect(clientId: string, options: Partial<LinkOptions> = {}): Promise<Link> {
      const link = connectLink({ url: broker.url, clientId, ...options });
      links.push(link);
      await until(`${clientId} to connect`, () => link.connected);
      return link;
    }

    test(`a link speaks ${speaks}, and says so`, async () => {
      const states: string[] = [];
      await connect("speaker", { onState: (state, detail) => state === "connected" && states.push(detail) });
      assert.deepEqual(states, [speaks]);
    });

    test("what is published arrives as it was, with its topic, where the filter matches and nowhere else", async () => {
      const [from, to] = [await connect("from"), await connect("to")];
      const got: [string, unknown][] = [];
      const elsewhere: unknown[] = [];
      to.subscribe("a/+/verdict/#", (topic, payload) => got.push([topic, payload]));
      to.subscribe("a/+/status", (_topic, payload) => elsewhere.push(payload));
      await settled(from, to);
      const payload = { text: "検品", number: 0.1, list: [null, true] };
      await from.publish("a/1/verdict/line", payload);
      await from.publish("a/1/other/line", payload);
      await from.publish("a/1/verdict", payload);
      await settled(from, to);
      assert.deepEqual(got, [
        ["a/1/verdict/line", payload],
        ["a/1/verdict", payload],
      ]);
      assert.deepEqual(elsewhere, []);
    });

    test("what is no JSON, or too long to be ours, arrives as undefined, so that it can be counted", async () => {
      const to = await connect("counting");
      const got: { payload: unknown; bytes: number }[] = [];
      to.subscribe("raw/x", (_topic, payload, raw) => got.push({ payload, bytes: raw.length }));
      await settled(to, to);
      await publishRaw(broker.url, "raw/x", Buffer.from("{no"));
      await publishRaw(broker.url, "raw/x", Buffer.of(0xff, 0xfe, 0));
      await publishRaw(broker.url, "raw/x", Buffer.alloc(0));
      // MQTT 5 lets a client name the largest packet it takes, and then the broker keeps such ones to itself.
      await publishRaw(broker.url, "raw/x", Buffer.from(`"${"x".repeat(PAYLOAD_LIMIT_BYTES)}"`));
      await publishRaw(broker.url, "raw/x", Buffer.from('{"last":1}'));
      await until("the last", () => got.some(({ payload }) => payload !== undefined));
      assert.deepEqual(
        got.filter(({ bytes }) => bytes < 100).map(({ payload }) => payload),
        [undefined, undefined, undefined, { last: 1 }],
      );
      const long = got.filter(({ bytes }) => bytes > 100);
      assert.equal(long.length, speaks === "MQTT 5" ? 0 : 1);
      assert.ok(long.every(({ payload }) => payload === undefined));
    });

    test("a retained message meets those who come later, until it is taken back", async () => {
      const from = await connect("retaining");
      await from.publish("kept/x", { kept: 1 }, { retain: true });
      assert.deepEqual(await retained("reader-1", "kept/x"), [{ kept: 1 }]);
      await from.publish("kept/x", null, { retain: true });
      assert.deepEqual(await retained("reader-2", "kept/x"), []);
    });

    test("the will of a client that is killed is published and kept; of one that says goodbye it is not", async () => {
      const watcher = await connect("watcher");
      const got: unknown[] = [];
      watcher.subscribe("will/killed", (_topic, payload) => got.push(payload));
      await settled(watcher, watcher);
      const killed = await startClient(broker.url, "will/killed");
      await end(killed, "SIGKILL");
      await until("the will", () => got.length > 0);
      assert.deepEqual(got, [{ state: "offline" }]);
      assert.deepEqual(await retained("reader-3", "will/killed"), [{ state: "offline" }]);
      const polite = await startClient(broker.url, "will/polite");
      await end(polite, "SIGTERM");
      assert.deepEqual(await retained("reader-4", "will/polite"), []);
    });

    test("a link comes back after its broker was killed, with its subscriptions, and says both", async () => {
      const states: string[] = [];
      const [from, to] = [await connect("steady"), await connect("listener", { onState: (state) => states.push(state) })];
      const got: unknown[] = [];
      let connects = 0;
      to.subscribe("again/x", (_topic, payload) => got.push(payload));
      to.onConnect(() => connects++);
      assert.equal(connects, 1, "told at once when it is connected already");
      states.length = 0;
      await broker.kill();
      await until("both to notice", () => !from.connected && !to.connected);
      await assert.rejects(from.publish("again/x", 1), (error) => error instanceof KenpinError && error.code === "broker-away");
      await sleep(700); // so that a first attempt fails
      await broker.start();
      await until("both to come back", () => from.connected && to.connected && connects === 2);
      await settled(from, to);
      await from.publish("again/x", 2);
      await until("the message", () => got.length > 0);
      assert.deepEqual(got, [2]);
      assert.deepEqual([...new Set(states)], ["away", "connected"]);
      assert.equal(states.at(-1), "connected");
    });

    test("a link that is closed stays closed, also while its broker is away", async () => {
      const states: string[] = [];
      const [first, second] = [await connect("closing"), await connect("closing-away", { onState: (state) => states.push(state) })];
      await first.close();
      assert.equal(first.connected, false);
      await assert.rejects(first.publish("x", 1), { code: "broker-away" });
      await broker.kill();
      await until("it to notice", () => states.at(-1) === "away");
      await second.close();
      await broker.start();
      states.length = 0;
      await sleep(1000);
      assert.deepEqual([first.connected, second.connected, states.length], [false, false, 0]);
    });

    test("members of a group share the messages where the broker can; elsewhere each gets all", async () => {
      const from = await connect("sharing");
      const got: [number[], number[]] = [[], []];
      for (const [i, list] of got.entries()) {
        const member = await connect(`member-${i}`);
        member.subscribe("shared/x", (_topic, payload) => list.push(payload as number), { shared: "hubs" });
        await settled(member, member);
      }
      const sent = Array.from({ length: 20 }, (_, i) => i);
      for (const i of sent) await from.publish("shared/x", i);
      const expected = speaks === "MQTT 5" ? 20 : 40;
      await until("all of them", () => got.flat().length === expected);
      await settled(from, from);
      if (speaks === "MQTT 5")
        assert.deepEqual(
          got.flat().sort((a, b) => a - b),
          sent,
        );
      else for (const list of got) assert.deepEqual(list, sent);
    });

    /** What a newcomer is told at once on this topic. */
    async function retained(clientId: string, topic: string): Promise<unknown[]> {
      const reader = await connect(clientId);
      const got: unknown[] = [];
      reader.subscribe(topic, (_topic, payload) => got.push(payload));
      await settled(reader, reader);
      return got;
    }
  });
}

/** Resolves once everything sent before has gone its way: a broker keeps the order of one connection's packets. */
async function settled(from: Link, to: Link): Promise<void> {
  const topic = `settled/${crypto.randomUUID()}`;
  let arrived = false;
  to.subscribe(topic, () => {
    arrived = true;
  });
  await until("a message of our own", async () => {
    await from.publish(topic, 1);
    return arrived;
  });
}

async function startClient(url: string, topic: string): Promise<ChildProcess> {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  const child = spawn(process.execPath, [...flags, join(import.meta.dirname, "will-client.ts"), url, topic], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal);
  await once(child, "exit");
}

test("an error names the broker without the user and password its address may carry", async () => {
  const link = connectLink({ url: "mqtt://hub:S3CRET@127.0.0.1:1", clientId: "away" });
  try {
    const error = await link.publish("kenpin/v1/demo/edge-1/status", {}).then(
      () => null,
      (thrown: Error) => thrown,
    );
    assert.match(error?.message ?? "", /mqtt:\/\/127\.0\.0\.1:1 is away/);
    assert.doesNotMatch(error?.message ?? "", /S3CRET/);
  } finally {
    await link.close();
  }
});
