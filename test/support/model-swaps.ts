/**
 * Swaps an agent's model again and again, as a hub's rollouts do: download, proof, a second inspector, the switch between two
 * frames, the end of the old one. In: how many. Out: the resident memory of the agent's process before the first and after each
 * swap, in MB, and that of its inspector.
 */
import { readFile } from "node:fs/promises";
import { quantile } from "@kenpin/stats";
import { openSite, until } from "../edge-agent/edge-site.ts";
import { drawFrame, testBundle } from "./test-bundle.ts";

export type Swapped = { before: number; agentMb: number[]; inspectorMb: number[]; processes: number };

/** A process that has answered no frames yet is smaller than any that works. */
const WARM_UP_FRAMES = 200;

export async function swapModels(swaps: number, onSwap: (done: number) => void = () => undefined): Promise<Swapped> {
  const site = await openSite();
  try {
    const agent = await site.startAgent();
    const pid = Number(agent.last("agent-running")?.["pid"]);
    for (let frame = 0; frame < WARM_UP_FRAMES; frame++) await site.place("line", `warm-up-${frame}.jpg`, await drawFrame());
    await until("the warm-up", () => site.inbox.byTrigger().size === WARM_UP_FRAMES);
    const swapped: Swapped = { before: await residentMb(pid), agentMb: [], inspectorMb: [], processes: 0 };
    for (let swap = 1; swap <= swaps; swap++) {
      const bundle = await testBundle({ release: 1 + swap });
      const { digest, bytes } = bundle;
      site.hub.bundles.set(digest, bundle);
      const desired = { schemaVersion: 1, digest, bytes, release: 1 + swap, path: `/v1/bundles/${digest}` };
      await site.inbox.link.publish(site.inbox.topics.bundleDesired, desired, { retain: true });
      await until("the switch", () => site.inbox.reported.at(-1)?.state === "running" && site.inbox.reported.at(-1)?.digest === digest);
      await site.place("line", `swap-${swap}.jpg`, await drawFrame());
      await until("its first verdict", () => site.inbox.byTrigger().get(`swap-${swap}`)?.bundle === digest);
      const inspector = Number(agent.last("inspector-running")?.["pid"]);
      swapped.agentMb.push(await residentMb(pid));
      swapped.inspectorMb.push(await residentMb(inspector));
      await until("the old inspector's end", async () => (await childrenOf(pid)).length === 1);
      onSwap(swap);
    }
    swapped.processes = (await childrenOf(pid)).length;
    return swapped;
  } finally {
    await site.close();
  }
}

/** Against `before`: the last quarter's median, and the largest of all. */
export function growthOf(before: number, mb: readonly number[]): { last: number; ratio: number; largest: number; largestRatio: number } {
  const last = quantile(mb.slice(-Math.ceil(mb.length / 4)), 0.5);
  const largest = Math.max(...mb);
  return { last, ratio: last / before - 1, largest, largestRatio: largest / before - 1 };
}

async function residentMb(pid: number): Promise<number> {
  const kb = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kb) / 1024;
}

async function childrenOf(pid: number): Promise<string[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return children.split(" ").filter(Boolean);
}
