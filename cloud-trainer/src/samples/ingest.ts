/**
 * Takes verdicts and samples from MQTT into the ledger: parsed by their contracts, committed in one transaction a tick,
 * and only then acknowledged to their agent. A message that came twice, or whose tick failed, does no harm: an agent
 * keeps each one until the acknowledgement covers it.
 */
import { type AgentStatus, agentTopics, parseTopic, Sample, Verdict } from "@kenpin/schema";
import type { Logger } from "pino";
import { z } from "zod";
import type { Database, Emit, Message, Publish, Queries } from "../ports.ts";
import type { Entry, Ledger, Recorded, Source } from "./ledger.ts";

const TICK_MS = 50;
/** Bounds how long one transaction holds the database. */
const BATCH = 500;
/** Beyond this, messages are left to be sent again: memory is bounded, nothing is lost. */
const WAITING = 20_000;
const RETRY_MS = 1000;

/** All that is needed to keep a message that its contract refuses from holding up the ones behind it. */
const Place = z.object({ bootId: z.uuid(), seq: z.int().min(1) });

export type IngestOptions = {
  database: Database;
  ledger: Ledger;
  publish: Publish;
  emit: Emit;
  /** A frame that some sample now names. */
  onSample: (frame: string) => void;
  /** An agent whose number of verdicts changed. */
  onAgent: (site: string, agent: string) => void;
  log: Logger;
};
type Raise = { kind: "raise"; site: string; agent: string; outbox: NonNullable<AgentStatus["outbox"]> };
export type Counts = { duplicates: number; malformed: number; quarantined: number; unknownAgents: number; postponed: number };
export type Ingest = ReturnType<typeof startIngest>;

export function startIngest(options: IngestOptions) {
  const { database, ledger, log } = options;
  const counts: Counts = { duplicates: 0, malformed: 0, quarantined: 0, unknownAgents: 0, postponed: 0 };
  const said = new Set<string>();
  let waiting: (Entry | Raise)[] = [];
  let timer: NodeJS.Timeout | null = null;
  let flushing: Promise<void> = Promise.resolve();
  let stopped = false;

  const count = (what: keyof Counts, detail: Record<string, unknown> = {}) => {
    counts[what]++;
    const kind = `${what} ${detail["why"] ?? ""}`;
    if (what === "duplicates" || said.has(kind)) return; // once per kind: a wrong agent must not fill the log
    said.add(kind);
    log.warn({ what, ...detail }, "message-set-aside");
  };

  const flushSoon = (afterMs: number) => {
    if (timer || stopped) return;
    timer = setTimeout(() => {
      timer = null;
      flushing = flush();
    }, afterMs);
  };

  const flush = async (): Promise<void> => {
    const batch = waiting.slice(0, BATCH);
    if (batch.length === 0) return;
    try {
      const recorded = await database.transaction((tx) => commit(tx, ledger, batch));
      waiting = waiting.slice(batch.length);
      for (const [i, result] of recorded.entries()) tell(result, batch[i] as Entry, options, count);
      await acknowledge(distinctAgents(batch), options);
      if (waiting.length > 0) flushSoon(0);
    } catch (error) {
      log.error({ error: (error as Error).message, waiting: waiting.length }, "commit-failed");
      flushSoon(RETRY_MS);
    }
  };

  const add = (entry: Entry | Raise) => {
    if (waiting.length >= WAITING) return count("postponed", { waiting: waiting.length });
    waiting.push(entry);
    flushSoon(TICK_MS);
  };

  return {
    counts,
    count,
    accept: (message: Message) => {
      const entry = parse(message);
      if (entry && "seq" in entry) add(entry);
      else count("malformed", { topic: message.topic, why: entry?.why ?? "topic" });
    },
    /** What an agent still holds: a boot this hub never saw begins there. */
    raise: (site: string, agent: string, outbox: Raise["outbox"]) => add({ kind: "raise", site, agent, outbox }),
    acknowledge: (agents: { site: string; agent: string }[]) => acknowledge(agents, options),
    /** Commits what waits, then takes nothing more. */
    stop: async () => {
      if (timer) clearTimeout(timer);
      stopped = true;
      await flushing;
      while (waiting.length > 0) {
        const before = waiting.length;
        await flush();
        if (waiting.length === before) return;
      }
    },
  };
}

async function commit(tx: Queries, ledger: Ledger, batch: (Entry | Raise)[]): Promise<(Recorded | null)[]> {
  const receivedAt = new Date().toISOString();
  const recorded: (Recorded | null)[] = [];
  for (const entry of batch) {
    if (entry.kind !== "raise") {
      recorded.push(await ledger.record(tx, entry, receivedAt));
      continue;
    }
    for (const { bootId, from } of entry.outbox) await ledger.raise(tx, { site: entry.site, agent: entry.agent, boot: bootId }, from);
    recorded.push(null);
  }
  return recorded;
}

type Count = (what: keyof Counts, detail?: Record<string, unknown>) => void;

function tell(recorded: Recorded | null, entry: Entry, { emit, onSample, onAgent }: IngestOptions, count: Count): void {
  if (recorded?.kind === "verdict") {
    emit({ type: "verdict", data: recorded.row });
    onAgent(entry.site, entry.agent);
  } else if (recorded?.kind === "sample") onSample(recorded.sample.frame.sha256);
  else if (recorded?.kind === "duplicate") count("duplicates");
  else if (recorded?.kind === "quarantined") count("quarantined", { topic: entry.topic, seq: entry.seq, why: recorded.why });
}

/** A failed publication is no loss: the acknowledgement is retained state and goes out again with the next one. */
async function acknowledge(agents: { site: string; agent: string }[], { ledger, publish, log }: IngestOptions): Promise<void> {
  for (const { site, agent } of agents) {
    const ack = await ledger.ack(site, agent);
    await publish(agentTopics(site, agent).ack, ack, { retain: true }).catch((error: Error) =>
      log.debug({ site, agent, error: error.message }, "ack-not-sent"),
    );
  }
}

function distinctAgents(batch: (Entry | Raise)[]): { site: string; agent: string }[] {
  return [...new Map(batch.map(({ site, agent }) => [`${site}/${agent}`, { site, agent }])).values()];
}

/** An entry for the ledger; where not even its place can be read, only why. */
function parse({ topic, payload, raw }: Message): Entry | { why: string } | null {
  const where = parseTopic(topic);
  if (!where || (where.kind !== "verdict" && where.kind !== "sample")) return null;
  const parsed = where.kind === "verdict" ? Verdict.safeParse(payload) : Sample.safeParse(payload);
  const place = Place.safeParse(payload);
  if (!place.success) return { why: payload === undefined ? "json" : "contract" };
  const source: Source & { topic: string; raw: Uint8Array } = {
    site: where.site,
    agent: where.agent,
    boot: place.data.bootId,
    seq: place.data.seq,
    topic,
    raw,
  };
  if (!parsed.success) return { ...source, kind: "bad", why: "contract" };
  const { site, agent, camera } = parsed.data;
  if (site !== where.site || agent !== where.agent || camera !== where.rest) return { ...source, kind: "bad", why: "topic" };
  return where.kind === "verdict"
    ? { ...source, kind: "verdict", value: parsed.data as Verdict }
    : { ...source, kind: "sample", value: parsed.data as Sample };
}
