/**
 * What the page knows: read once from the hub, then kept up to date by its events. When the connection comes back after a
 * gap everything is read anew, so a missed event never stays missing. Out: a snapshot for the views, a new one a change.
 */
import { ask, followEvents, oncePerFrame } from "@kenpin/page/web";
import type { AgentRow, HubEvent, HubSummary, Label, Me, RunProgress, RunRow, SampleRow, VerdictRow } from "@kenpin/schema";

export type Snapshot = {
  connection: "loading" | "live" | "away";
  me: Me | null;
  agents: AgentRow[];
  summary: HubSummary | null;
  /** Newest first. */
  verdicts: VerdictRow[];
  /** By the verdict they belong to. */
  samples: Map<string, SampleRow>;
  run: RunRow | null;
  curve: RunProgress[];
};

const SHOWN_VERDICTS = 120;
const SUMMARY_PAUSE_MS = 1000;

export class LiveStore {
  snapshot: Snapshot = {
    connection: "loading",
    me: null,
    agents: [],
    summary: null,
    verdicts: [],
    samples: new Map(),
    run: null,
    curve: [],
  };
  #draw: () => void;
  #summaryAsked: "no" | "waiting" | "reading" | "again" = "no";
  /** While the state is read, events wait here, so that an older answer never overwrites a newer event. */
  #held: HubEvent[] | null = null;

  constructor(onChange: () => void) {
    this.#draw = oncePerFrame(onChange);
  }

  start(): void {
    followEvents<HubEvent>({
      probe: "/v1/me",
      read: () => this.#readAll(),
      onNews: (event) => (this.#held ? void this.#held.push(event) : this.#take(event)),
      onAway: () => this.#set({ connection: this.snapshot.connection === "loading" ? "loading" : "away" }),
    });
  }

  /** Resolves with what went wrong, or null. */
  async label(sample: string, label: Label["label"]): Promise<string | null> {
    const body: Label[] = [{ sample, label, by: this.snapshot.me?.name ?? "operator" }];
    try {
      await ask("POST", "/v1/labels", body);
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  }

  async #readAll(): Promise<void> {
    this.#held ??= [];
    const [me, agents, summary, verdicts, samples, runs] = await Promise.all([
      ask<Me>("GET", "/v1/me"),
      ask<AgentRow[]>("GET", "/v1/agents"),
      ask<HubSummary>("GET", "/v1/summary"),
      ask<VerdictRow[]>("GET", `/v1/verdicts?newest&limit=${SHOWN_VERDICTS}`),
      ask<SampleRow[]>("GET", "/v1/samples"),
      ask<RunRow[]>("GET", "/v1/runs"),
    ]);
    const run = runs[0] ?? null;
    const curve = run ? await ask<RunProgress[]>("GET", `/v1/runs/${run.id}/progress`) : [];
    const byVerdict = new Map(samples.map((row) => [row.sample.verdictId, row]));
    this.#set({ connection: "live", me, agents, summary, verdicts, samples: byVerdict, run, curve });
    const held = this.#held;
    this.#held = null;
    for (const event of held) this.#take(event);
    if (held.length > 0) this.#readSummarySoon(); // what waited may be in the counts already
  }

  #take(event: HubEvent): void {
    const { agents, samples, summary } = this.snapshot;
    if (event.type === "verdict") this.#takeVerdict(event.data);
    else if (event.type === "agent") {
      const others = agents.filter(({ site, agent }) => site !== event.data.site || agent !== event.data.agent);
      const sorted = [...others, event.data].sort((a, b) => `${a.site}/${a.agent}`.localeCompare(`${b.site}/${b.agent}`));
      this.#set({ agents: sorted });
    } else if (event.type === "sample") {
      this.#set({ samples: new Map(samples).set(event.data.sample.verdictId, event.data) });
      this.#readSummarySoon();
    } else if (event.type === "run") this.#takeRun(event.data);
    else if (summary) this.#set({ summary: { ...summary, broker: event.data.state } });
  }

  #takeVerdict(row: VerdictRow): void {
    const { verdicts, summary } = this.snapshot;
    if ((verdicts[0]?.row ?? 0) >= row.row) return; // it came with the list already
    const counts = summary && { ...summary.verdicts, [row.verdict.outcome]: summary.verdicts[row.verdict.outcome] + 1 };
    this.#set({
      verdicts: [row, ...verdicts].slice(0, SHOWN_VERDICTS),
      ...(summary && counts && { summary: { ...summary, verdicts: counts } }),
    });
  }

  #takeRun(run: RunRow): void {
    const curve = this.snapshot.run?.id === run.id ? this.snapshot.curve : [];
    this.#set({ run, curve: run.progress && run.state === "running" ? [...curve, run.progress] : curve });
  }

  /**
   * Samples come and are labelled in bursts; their counts are read once a burst. One reading at a time, so that an older
   * answer never overwrites a newer one; what changes meanwhile, and a reading that failed, is read again.
   */
  #readSummarySoon(): void {
    if (this.#summaryAsked === "reading") this.#summaryAsked = "again";
    if (this.#summaryAsked !== "no") return;
    this.#summaryAsked = "waiting";
    window.setTimeout(() => void this.#readSummary(), SUMMARY_PAUSE_MS);
  }

  async #readSummary(): Promise<void> {
    this.#summaryAsked = "reading";
    const summary = await ask<HubSummary>("GET", "/v1/summary").catch(() => null);
    const again = summary === null || (this.#summaryAsked as string) === "again";
    this.#summaryAsked = "no";
    if (summary) this.#set({ summary });
    if (again && this.snapshot.connection === "live") this.#readSummarySoon();
  }

  #set(part: Partial<Snapshot>): void {
    this.snapshot = { ...this.snapshot, ...part };
    this.#draw();
  }
}
