/**
 * The agent's status (retained, and the will): on connect, when the backlog passes to or from nothing, when the
 * inspector starts, ends or is being built, when a camera begins or ends to drift, when the hub waits at a gap, and every 30 seconds. Changes are gathered for a second, since a lone frame passes through both within milliseconds.
 */
import type { Ack, AgentStatus } from "@kenpin/schema";
import { AGENT_VERSION } from "../version.ts";

export type StatusOptions = {
  bootId: string;
  backlog: () => number;
  starts: () => NonNullable<AgentStatus["outbox"]>;
  inspector: () => AgentStatus["inspector"];
  health: () => NonNullable<AgentStatus["health"]>;
  cameras: () => NonNullable<AgentStatus["cameras"]>;
  publish: (status: AgentStatus) => void;
};

const EVERY_MS = 30_000;
const GATHER_MS = 1000;

export function offlineStatus(bootId: string): AgentStatus {
  return { schemaVersion: 1, state: "offline", bootId, version: AGENT_VERSION, at: new Date().toISOString() };
}

export class StatusBeat {
  #options: StatusOptions;
  #timer: NodeJS.Timeout;
  #soon: NodeJS.Timeout | null = null;
  #said: string | null = null;

  constructor(options: StatusOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.publish(), EVERY_MS);
  }

  /** Rows came or went, or the inspector did. */
  consider(): void {
    if (this.#worth() !== this.#said) this.#gather();
  }

  /** The hub has reached `ack`; where rows after it were shed, it waits for what will never come and must be told. */
  compare({ boots }: Ack): void {
    const reached = new Map(boots.map(({ bootId, seq }) => [bootId, seq]));
    const gap = this.#options.starts().some(({ bootId, from }) => from > (reached.get(bootId) ?? from) + 1);
    if (gap) this.#gather();
    else this.consider();
  }

  publish(): void {
    const { bootId, backlog, starts, inspector, health, cameras, publish } = this.#options;
    this.#said = this.#worth();
    publish({
      schemaVersion: 1,
      state: "online",
      bootId,
      version: AGENT_VERSION,
      at: new Date().toISOString(),
      backlog: backlog(),
      outbox: starts(),
      inspector: inspector(),
      health: health(),
      cameras: cameras(),
    });
  }

  stop(): void {
    clearInterval(this.#timer);
    if (this.#soon) clearTimeout(this.#soon);
  }

  /** What is told at once when it changes. */
  #worth(): string {
    const { backlog, inspector, health, cameras } = this.#options;
    return JSON.stringify([backlog() > 0, inspector(), health(), cameras().map(({ state }) => state)]);
  }

  #gather(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      this.publish();
    }, GATHER_MS);
  }
}
