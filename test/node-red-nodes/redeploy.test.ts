/** A hundred redeploys of every node there is: nothing that a node began is left of it, in Node-RED or at the broker. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Site, startSite } from "../support/hub.ts";
import { example, type FlowNode, type NodeRed, PACKAGE, startNodeRed, type Version } from "./node-red.ts";

type Held = { resources: Record<string, number>; listeners: number; children: number; heapMb: number };

/** Answers what the whole process holds. */
const PROBE: FlowNode[] = [
  { id: "probe00000000tab", type: "tab", label: "probe" },
  { id: "probe000000000in", type: "http in", z: "probe00000000tab", url: "/held", method: "get", wires: [["probe00000000fun"]] },
  {
    id: "probe00000000fun",
    type: "function",
    z: "probe00000000tab",
    outputs: 1,
    func: `const process = global.get('process');
      global.get('gc')();
      const resources = {};
      for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
      const listeners = process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);
      msg.payload = { resources, listeners, children: resources.ProcessWrap ?? 0, heapMb: process.memoryUsage().heapUsed / 2 ** 20 };
      return msg;`,
    wires: [["probe00000000out"]],
  },
  { id: "probe00000000out", type: "http response", z: "probe00000000tab", wires: [] },
];

/** A pulse that is on its way holds a socket in place of its timer. A leak of one a redeploy would be a hundred. */
const UNDER_WAY = 4;
/** A leak of a whole node set with its buffers would be far more after a hundred. */
const HEAP_MB = 15;

let site: Site;
before(async () => {
  site = await startSite();
});
after(() => site?.stop());

for (const version of ["5", "4.1"] satisfies Version[]) {
  test(`Node-RED ${version}: a hundred redeploys leave no timer, connection, listener or child behind`, async (t) => {
    const red = await startNodeRed({ version });
    try {
      await red.deploy(PROBE);
      const empty = await settled(red);
      const all = [...PROBE, ...(await everyExample())];
      for (let warm = 0; warm < 5; warm++) await red.deploy(all);
      const before = await settled(red);
      for (let times = 0; times < 100; times++) {
        const renamed = all.map((node) => (node.type === "kenpin-link" ? { ...node, name: `kenpin ${times}` } : node));
        await red.deploy(renamed, times % 2 === 0 ? "full" : "nodes");
      }
      const after = await settled(red);
      await red.deploy(PROBE);
      const without = await settled(red);
      t.diagnostic(JSON.stringify({ before, after, without }));
      noMore(after, before);
      noMore(without, empty);
      assert.deepEqual([after.listeners, after.children], [before.listeners, 0]);
      assert.ok(after.heapMb < before.heapMb + HEAP_MB, `the heap grew from ${before.heapMb} to ${after.heapMb} MB`);
      assert.doesNotMatch(red.log(), /MaxListenersExceeded/);
    } finally {
      await red.stop();
    }
  });
}

async function everyExample(): Promise<FlowNode[]> {
  const addresses = {
    broker: site.brokerUrl,
    hub: site.hub.url,
    hubToken: site.hub.token,
    agent: "http://127.0.0.1:9",
    agentToken: "x".repeat(24),
  };
  const names = (await readdir(join(PACKAGE, "examples"))).map((name) => name.replace(/\.json$/, ""));
  return (await Promise.all(names.map((name) => example(name, addresses)))).flat();
}

function noMore(now: Held, then: Held): void {
  for (const [kind, held] of Object.entries(now.resources)) {
    const known = then.resources[kind] ?? 0;
    assert.ok(held <= known + UNDER_WAY, `${kind}: ${known} before, ${held} after`);
  }
}

/** What is held once nothing changes any more: a connection that is being closed takes a moment. */
async function settled(red: NodeRed): Promise<Held> {
  let [last, same] = ["", 0];
  for (let tries = 0; tries < 100; tries++) {
    const held = (await (await fetch(`${red.url}/held`)).json()) as Held;
    const now = JSON.stringify(held.resources);
    same = now === last ? same + 1 : 0;
    last = now;
    if (same >= 8) return held;
    await new Promise((later) => setTimeout(later, 250));
  }
  throw new Error(`what Node-RED holds keeps changing: ${last}`);
}
