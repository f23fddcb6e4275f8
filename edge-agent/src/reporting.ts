/**
 * Joins the agent to its broker: link, reporter, status. In: what waits to be told and who says how the agent stands. Out: a link that
 * is connecting and a reporter that empties the outbox. What it starts it hands to `closers`; the will's last word comes first.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { connectLink, type Link } from "@kenpin/messaging";
import { type AgentConfig, type AgentHealth, agentTopics } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Cameras } from "./cameras.ts";
import type { Supervisor } from "./inspect/supervisor.ts";
import type { Journal } from "./record/journal.ts";
import type { Outbox } from "./record/outbox.ts";
import { BrokerCredentials } from "./report/broker-credentials.ts";
import { Reporter } from "./report/reporter.ts";
import { offlineStatus, StatusBeat } from "./report/status.ts";

/** The last word to the broker must not hold up the stop. */
const FAREWELL_MS = 1000;

/** `onFreed`: acknowledged samples' pictures may go. */
type ReportingParts = {
  config: AgentConfig;
  log: Logger;
  closers: (() => unknown)[];
  journal: Journal;
  outbox: Outbox;
  supervisor: Supervisor;
  health: () => AgentHealth;
  cameras: Cameras;
  onFreed: () => void;
};

export function startReporting({ config, log, closers, journal, outbox, supervisor, health, cameras, onFreed }: ReportingParts) {
  const topics = agentTopics(config.site, config.agent);
  const stage = log.child({ stage: "report" });
  const credentials = new BrokerCredentials({ broker: config.broker, onChange: () => link.renew(), log: stage });
  const link: Link = connectLink({
    ...config.broker,
    tls: () => credentials.material,
    clientId: `kenpin-${config.site}-${config.agent}`,
    will: { topic: topics.status, payload: offlineStatus(journal.bootId) },
    onState: stateLog(stage),
  });
  const status = new StatusBeat({
    bootId: journal.bootId,
    backlog: () => outbox.count,
    starts: () => outbox.starts(journal.nextSeq),
    inspector: () => supervisor.status,
    health,
    cameras: () => cameras.status(),
    publish: (message) => void reporter.retain(topics.status, message),
  });
  const reporter = new Reporter({
    link,
    topics,
    backlog: outbox,
    onChange: () => status.consider(),
    onAck: (ack) => {
      status.compare(ack);
      onFreed();
    },
    log: stage,
  });
  link.onConnect(() => status.publish());
  credentials.start();
  closers.push(() => credentials.stop());
  closers.push(async () => {
    status.stop();
    reporter.stop();
    await Promise.race([reporter.retain(topics.status, offlineStatus(journal.bootId)), sleep(FAREWELL_MS, undefined, { ref: false })]);
    await link.close();
  });
  return { link, reporter, topics, status };
}

/** A broker that is away for three days is worth one line, not one every few seconds. */
function stateLog(log: Logger): (state: string, detail: string) => void {
  let last = "";
  return (state, detail) => {
    log[state === last ? "debug" : "info"]({ state, detail }, "broker");
    last = state;
  };
}
