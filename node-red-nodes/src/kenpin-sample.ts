/**
 * kenpin-sample: the frames that agents found worth learning from. As they are announced, each is a message; and any message that comes in
 * asks the hub for the newest ones that nobody labelled. Out: the sample as payload, its frame's sha256 as msg.sample, as kenpin-label
 * takes it, and the picture, which an agent brings to the hub a little after it announced it.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { KenpinError, Sample } from "@kenpin/schema";
import { z } from "zod";
import { fitting, listed } from "./filter.ts";
import type { Link } from "./kenpin-link.ts";
import { onInput, registerLinked } from "./linked-node.ts";
import type { Message, Red } from "./node-red.ts";
import { Turns } from "./turns.ts";

const SampleConfig = z.object({
  agent: listed,
  camera: listed,
  undecided: z.boolean().default(true),
  surprising: z.boolean().default(true),
  drifting: z.boolean().default(true),
  random: z.boolean().default(true),
  picture: z.boolean().default(false),
  most: z.coerce.number().int().min(1).max(500).default(10),
});
type SampleConfig = z.infer<typeof SampleConfig>;

/** Pictures on their way at once, and samples that wait for theirs. */
const TURNS = { atOnce: 4, waiting: 500 };
const REMEMBERED = 5000;
/** From the announcement to the picture; an agent with a slow uplink takes a while. */
const PICTURE_WAITS_MS = [250, 500, 1000, 2000, 4000, 8000, 15_000];

export function kenpinSample(RED: Red): void {
  registerLinked(RED, "kenpin-sample", {
    schema: SampleConfig,
    peers: ["broker", "hub"],
    start: (node, config, { link, show, onClose, closed }) => {
      const turns = new Turns(TURNS);
      const seen = new Set<string>();
      const announce = async (topic: string, sample: Sample) => {
        const picture = config.picture ? await turns.take(() => pictureOf(link, sample, closed, PICTURE_WAITS_MS)) : undefined;
        show({ fill: "blue", shape: "dot", text: `kenpin.sample.${sample.reason}` });
        node.send(messageOf({ topic }, sample, picture));
      };
      const leave = link.hear("sample", (topic, payload) => {
        const parsed = Sample.safeParse(payload);
        const fault = (why: string) => node.error(why, { topic, payload });
        if (!parsed.success)
          return fault(`no sample came on ${topic}: ${parsed.error.issues[0]?.message ?? "not JSON"} [sample-malformed]`);
        const sample = parsed.data;
        if (!passes(config, sample) || seen.has(sample.id)) return;
        seen.add(sample.id);
        const [oldest] = seen;
        if (oldest !== undefined && seen.size > REMEMBERED) seen.delete(oldest);
        announce(topic, sample).catch((error: Error) => {
          if (!closed.aborted) fault(error.message);
        });
      });
      onClose(leave);
      onInput(node, async (message, send) => {
        const rows = (await link.hub().samples({ unlabelled: true })).filter(({ sample }) => passes(config, sample)).slice(0, config.most);
        const parts = { id: randomUUID(), type: "array", count: rows.length };
        for (const [index, { sample, stored }] of rows.entries()) {
          const picture = config.picture && stored ? await turns.take(() => pictureOf(link, sample, closed, [])) : undefined;
          send(messageOf({ ...message, parts: { ...parts, index } }, sample, picture));
        }
        if (rows.length > 0) return;
        show({ fill: "grey", shape: "dot", text: "kenpin.sample.none" });
        send(Object.assign(message, { payload: null }));
      });
    },
  });
}

function messageOf(message: Message, sample: Sample, picture: Buffer | undefined): Message {
  return { ...message, payload: sample, sample: sample.frame.sha256, ...(picture && { picture }) };
}

/** undefined where it never came. */
async function pictureOf(link: Link, { frame }: Sample, closed: AbortSignal, waitsMs: readonly number[]): Promise<Buffer | undefined> {
  for (const waitMs of [...waitsMs, null]) {
    try {
      return Buffer.from(await link.hub().picture(frame.sha256));
    } catch (error) {
      if (!(error instanceof KenpinError) || error.code !== "blob-unknown") throw error;
    }
    if (waitMs !== null) await sleep(waitMs, undefined, { signal: closed });
  }
  return undefined;
}

function passes({ agent, camera, ...reasons }: SampleConfig, sample: Sample): boolean {
  return reasons[sample.reason] && fitting(agent, sample.agent) && fitting(camera, sample.camera);
}
