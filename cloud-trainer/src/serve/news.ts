/**
 * Turns "something changed" into events for the pages. A line gives many verdicts a second, so what is said of an agent
 * is said at most twice a second, with its latest state.
 */
import type { AgentRow, HubEvent, SampleRow } from "@kenpin/schema";
import type { Logger } from "pino";

const PAUSE_MS = 500;

type NewsOptions = {
  emit: (event: HubEvent) => void;
  agentRow: (site: string, agent: string) => Promise<AgentRow | null>;
  log: Logger;
};

export function startNews({ emit, agentRow, log }: NewsOptions) {
  const pending = new Map<string, NodeJS.Timeout>();
  const failed = (error: Error) => log.error({ error: error.message }, "news-failed");

  const tellAgent = async (site: string, agent: string) => {
    const data = await agentRow(site, agent);
    if (data) emit({ type: "agent", data });
  };

  return {
    onAgent: (site: string, agent: string) => {
      const key = `${site}/${agent}`;
      if (pending.has(key)) return;
      const timer = setTimeout(() => {
        pending.delete(key);
        tellAgent(site, agent).catch(failed);
      }, PAUSE_MS);
      pending.set(key, timer);
    },
    onSamples: (rows: Promise<SampleRow[]>) => {
      rows.then((list) => list.forEach((data) => void emit({ type: "sample", data }))).catch(failed);
    },
    stop: () => {
      for (const timer of pending.values()) clearTimeout(timer);
    },
  };
}
